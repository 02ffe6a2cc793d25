"""Processes that live through a measurement, and the machine's limit that one of them measures."""

import time

import pytest

from benchmarks import gemm
from benchmarks.living_process import LivingProcess

JOB = {"library": "openvino", "size": 64, "threads": 1}


def start(job, **options):
    return LivingProcess("benchmarks.gemm", job, threads=1, **options)


def test_the_rate_by_hand():
    """A call that takes 10 ms on a matrix of 100 is 2e6 FLOP in 10 ms: 0.2 GFLOP/s."""
    assert gemm.rate(lambda: time.sleep(0.01), 100, 0.05) == pytest.approx(0.2, rel=0.1)


def test_it_answers_as_often_as_it_is_asked_and_keeps_its_state():
    with start(JOB) as process:
        assert all(process.ask(precision="fp32", seconds=0.01)["rate"] > 0 for _ in range(3))
        assert process.failure is None


def test_a_failure_is_one_line_and_not_the_end():
    with start(JOB | {"library": "abacus"}) as process:
        assert process.ask(precision="fp32", seconds=0.01) == {}
        assert process.failure == "KeyError: 'abacus'"
        assert process.ask(precision="fp32", seconds=0.01) == {}


def test_a_process_that_dies_says_why():
    with LivingProcess("benchmarks.no_such", {}, threads=1) as process:
        assert process.ask() == {}
        assert "no_such" in process.failure


def test_one_that_does_not_answer_is_given_up():
    with start(JOB, timeout=0.0) as process:
        assert process.ask(precision="fp32", seconds=20.0) == {}
        assert process.failure == "no answer within 0 s"


def test_the_machine():
    with gemm.Machine(1, size=256, seconds=0.02) as machine:
        for _ in range(2):
            machine.measure()
        facts = machine.facts()
    fp32 = facts["fp32"]
    assert 0 < fp32["lowest"] <= fp32["gflops"] <= fp32["highest"]
    assert fp32["gflops"] == max(fp32["medians"].values()) == machine.limit("fp32")
    assert len(machine.rates["fp32"][fp32["library"]]) == 2
    assert machine.limit("int8") == machine.limit("bf16")

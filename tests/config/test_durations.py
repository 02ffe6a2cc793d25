"""Durations: exactly one unit, and what it means in steps."""

import pydantic
import pytest

from ppcore.config.durations import Duration, Plan

PLAN = Plan(steps_per_epoch=25, batch_size=512, total_steps=1000)


def test_conversions():
    assert Duration(steps=7).in_steps(PLAN) == 7
    assert Duration(epochs=3.0).in_steps(PLAN) == 75
    assert Duration(epochs=0.5).in_steps(PLAN) == 12  # 12.5, to even
    assert Duration(epochs=0.1).in_steps(PLAN) == 2
    assert Duration(examples=5120).in_steps(PLAN) == 10
    assert Duration(examples=5000).in_steps(PLAN) == 10
    assert Duration(steps=0).in_steps(PLAN) == 0
    assert isinstance(Duration(epochs=300).in_steps(PLAN), int)


def test_epoch_of_is_the_inverse():
    assert PLAN.epoch_of(75) == 3.0
    assert PLAN.epoch_of(1) == 0.04
    for epochs in range(41):
        assert PLAN.epoch_of(Duration(epochs=float(epochs)).in_steps(PLAN)) == epochs


@pytest.mark.parametrize("given", [{}, {"epochs": 1.0, "steps": 1}, {"steps": 1, "examples": 1}, {"steps": None}])
def test_exactly_one(given):
    with pytest.raises(pydantic.ValidationError, match="exactly one of epochs, steps, examples"):
        Duration(**given)


@pytest.mark.parametrize("given", [{"epochs": -1.0}, {"steps": -1}, {"examples": -5}])
def test_negative(given):
    with pytest.raises(pydantic.ValidationError, match="cannot be negative"):
        Duration(**given)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_length(value):
    with pytest.raises(pydantic.ValidationError):
        Duration(epochs=value)


@pytest.mark.parametrize(
    "given", [{"steps": 1.5}, {"steps": "1"}, {"epochs": "1"}, {"steps": True}, {"epoch": 1.0}, {"images": 5}]
)
def test_wrong_types_and_keys(given):
    with pytest.raises(pydantic.ValidationError):
        Duration(**given)


def test_read_only():
    duration = Duration(steps=1)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        duration.steps = 2

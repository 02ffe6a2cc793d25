"""Speed and the time left, as they are told: from the first seconds on, and never a time that says nothing."""

import pytest

from ppcore.engine import pace as module
from ppcore.engine.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_first_line_comes_after_two_seconds_and_then_every_five(clock):
    pace, told = Pace(0, 100), []
    for tenth in range(1, 200):
        clock[0] = 100 + tenth / 10
        if pace.due():
            told.append(tenth / 10)
    assert told == [2.0, 7.0, 12.0, 17.0]


def test_time_left_is_not_told_before_a_step_nor_after_the_last(clock):
    pace = Pace(0, 2)
    assert pace.left is None
    clock[0] += 3
    pace.add(8)
    assert pace.left == pytest.approx(3.0)
    pace.add(8)
    assert pace.left is None


def test_pauses_do_not_count(clock):
    pace = Pace(10, 20)
    clock[0] += 2
    pace.add(8)
    with pace.paused():
        clock[0] += 100
    assert pace.left == pytest.approx(9 * 2.0)
    assert pace.rate == pytest.approx(4.0)
    assert pace.window() == pytest.approx(4.0)
    clock[0] += 1
    pace.add(8)
    assert pace.window() == pytest.approx(8.0)
    assert pace.seconds == pytest.approx(103.0)

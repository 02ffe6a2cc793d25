"""Schedules as a configuration binds them; the formulas themselves are checked against references in tests/golden."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppcore.config.durations import Duration, Plan
from ppcore.schedules import (
    Constant,
    CosineAfterUpdate,
    ExponentialDecay,
    StepDecay,
    TimmCosine,
    ViTSchedule,
    scaled_lr,
)

PLAN = Plan(steps_per_epoch=10, batch_size=1024, total_steps=300)
THREE_RATES = dict(base_lr=5e-4, warmup_lr=5e-7, min_lr=5e-6)
TEN_STEPS, FIVE_EPOCHS = Duration(steps=10), Duration(epochs=5.0)


class TestViTSchedule:
    @pytest.mark.parametrize(("decay", "end"), [("cosine", 0.0), ("linear", 1e-5)])
    def test_ends_and_peak(self, decay, end):
        lr = ViTSchedule(base_lr=0.03, warmup=TEN_STEPS, decay=decay).bind(PLAN)
        assert lr(0) == 0.0
        assert lr(5) == pytest.approx(0.015, rel=1e-12)
        assert lr(10) == pytest.approx(0.03, rel=1e-12)
        assert lr(300) == pytest.approx(end, abs=1e-15)
        assert max(lr(step) for step in range(301)) == lr(10)

    def test_decay_begins_where_the_warm_up_ends(self):
        lr = ViTSchedule(base_lr=1.0, warmup=Duration(steps=100), decay="cosine").bind(PLAN)
        assert lr(200) == pytest.approx(0.5, rel=1e-12)  # halfway from 100 to 300, not from 0
        straight = ViTSchedule(base_lr=1.0, warmup=Duration(steps=100), decay="linear", linear_end=0.2).bind(PLAN)
        assert straight(150) == pytest.approx(0.8, rel=1e-12)

    def test_no_warm_up_starts_at_the_peak(self):
        assert ViTSchedule(base_lr=0.5, warmup=Duration(steps=0)).bind(PLAN)(0) == 0.5

    def test_after_the_end_it_stays(self):
        lr = ViTSchedule(base_lr=1.0, warmup=TEN_STEPS, decay="linear", linear_end=0.1).bind(PLAN)
        assert lr(301) == lr(10_000) == pytest.approx(0.1)

    @given(base=st.floats(1e-6, 1.0), warmup=st.integers(0, 299), decay=st.sampled_from(["cosine", "linear"]))
    def test_rises_then_falls(self, base, warmup, decay):
        lr = ViTSchedule(base_lr=base, warmup=Duration(steps=warmup), decay=decay, linear_end=0.0).bind(PLAN)
        rates = [lr(step) for step in range(301)]
        assert all(a <= b for a, b in pairwise(rates[: warmup + 1]))
        assert all(a >= b for a, b in pairwise(rates[warmup:]))
        assert all(0 <= rate <= base for rate in rates)
        assert all(isinstance(rate, float) for rate in rates)

    def test_decay_out_of_its_choices(self):
        lr = ViTSchedule(base_lr=1.0, warmup=TEN_STEPS, decay="cubic").bind(PLAN)
        with pytest.raises(ValueError, match="cubic"):
            lr(20)


class TestTimmCosine:
    def test_per_update(self):
        lr = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS, warmup_lr=1e-6, min_lr=1e-5).bind(PLAN)
        assert lr(0) == 1e-6
        assert lr(25) == pytest.approx(1e-6 + 0.5 * (1e-3 - 1e-6), rel=1e-12)
        # The cosine runs under the warm-up: at its end the rate is already below the peak.
        assert lr(50) == pytest.approx(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi / 6)), rel=1e-12)
        assert lr(300) == pytest.approx(1e-5, rel=1e-12)

    def test_a_prefix_starts_the_cosine_at_the_peak_and_stops_above_the_minimum(self):
        lr = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS, warmup_prefix=True).bind(PLAN)
        assert lr(50) == 1e-3
        assert lr(299) > 5 * 1e-5

    def test_deits_first_two_epochs_run_at_the_warm_up_rate(self):
        late = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS, warmup_lr=1e-6, stepping="deit_official").bind(PLAN)
        per_epoch = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS, warmup_lr=1e-6, stepping="per_epoch").bind(PLAN)
        assert {late(step) for step in range(20)} == {1e-6}
        assert late(20) > 1e-6
        assert per_epoch(10) > 1e-6
        assert [late(step + 10) for step in range(290)] == [per_epoch(step) for step in range(290)]

    @pytest.mark.parametrize("stepping", ["per_epoch", "deit_official"])
    def test_one_rate_an_epoch(self, stepping):
        lr = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS, stepping=stepping).bind(PLAN)
        for epoch in range(30):
            assert len({lr(epoch * 10 + i) for i in range(10)}) == 1
        assert len({lr(epoch * 10) for epoch in range(2, 30)}) == 28

    def test_only_the_peak_scales_with_the_batch(self):
        lr = TimmCosine(base_lr=5e-4, warmup=Duration(steps=0), min_lr=1e-5, reference_batch=512).bind(PLAN)
        assert lr(0) == pytest.approx(1e-3, rel=1e-12)
        assert lr(300) == pytest.approx(1e-5, rel=1e-12)


class TestCosineAfterUpdate:
    def test_all_rates_scale_with_the_batch_and_the_first_two_updates_are_alike(self):
        lr = CosineAfterUpdate(**THREE_RATES, warmup=FIVE_EPOCHS, reference_batch=512).bind(PLAN)
        assert lr(0) == lr(1) == pytest.approx(1e-6, rel=1e-12)
        assert lr(26) == pytest.approx(1e-6 + 0.5 * (1e-3 - 1e-6), rel=1e-12)
        assert lr(301) == pytest.approx(1e-5, rel=1e-12)

    def test_the_cosine_runs_under_the_warm_up_or_follows_it(self):
        whole, after = (
            CosineAfterUpdate(**THREE_RATES, warmup=FIVE_EPOCHS, warmup_prefix=prefix).bind(PLAN)
            for prefix in (False, True)
        )
        assert whole(51) == pytest.approx(5e-6 + 0.5 * (5e-4 - 5e-6) * (1 + math.cos(math.pi / 6)), rel=1e-12)
        assert after(51) == 5e-4
        assert whole(301) == after(301) == pytest.approx(5e-6, rel=1e-12)

    def test_a_base_at_the_floor_is_constant_after_the_warm_up(self):
        lr = CosineAfterUpdate(base_lr=5e-6, warmup_lr=5e-7, min_lr=5e-6, warmup=FIVE_EPOCHS).bind(PLAN)
        assert {lr(step) for step in range(51, 300)} == {5e-6}


class TestStepDecay:
    def test_drops_at_its_milestones(self):
        milestones = [Duration(epochs=20.0), Duration(steps=100)]  # in any order, in any unit
        lr = StepDecay(base_lr=1.0, milestones=milestones, gamma=0.1).bind(PLAN)
        assert [lr(step) for step in (0, 99)] == [1.0, 1.0]
        assert [lr(step) for step in (100, 199)] == pytest.approx([0.1, 0.1], rel=1e-12)
        assert [lr(step) for step in (200, 999)] == pytest.approx([0.01, 0.01], rel=1e-12)

    def test_warm_up(self):
        lr = StepDecay(base_lr=1.0, milestones=[Duration(steps=100)], warmup=TEN_STEPS).bind(PLAN)
        assert [lr(0), lr(5), lr(10), lr(11)] == [0.0, 0.5, 1.0, 1.0]


def test_exponential_decay_drops_after_every_so_many_steps():
    lr = ExponentialDecay(base_lr=2.0, gamma=0.5, every=Duration(steps=10)).bind(PLAN)
    assert [lr(step) for step in (0, 9, 10, 19, 20, 35)] == [2.0, 2.0, 1.0, 1.0, 0.5, 0.25]


def test_constant():
    lr = Constant(base_lr=0.3).bind(PLAN)
    assert {lr(step) for step in (0, 1, 300, 10_000)} == {0.3}


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: ViTSchedule(warmup=Duration(steps=0), **k),
        lambda **k: TimmCosine(warmup=Duration(steps=0), **k),
        lambda **k: CosineAfterUpdate(warmup=Duration(steps=0), **k),
        lambda **k: StepDecay(milestones=[Duration(steps=9)], **k),
        lambda **k: Constant(**k),
    ],
    ids=["vit", "timm", "after update", "step", "constant"],
)
def test_the_rate_scales_with_the_batch_only_when_asked(make):
    assert make(base_lr=5e-4).bind(PLAN)(0) == pytest.approx(5e-4, rel=1e-12)
    assert make(base_lr=5e-4, reference_batch=512).bind(PLAN)(0) == pytest.approx(1e-3, rel=1e-12)
    assert make(base_lr=5e-4, reference_batch=4096).bind(PLAN)(0) == pytest.approx(1.25e-4, rel=1e-12)
    assert scaled_lr(5e-4, 1024) == 1e-3


def test_binding_has_no_state():
    lr = TimmCosine(base_lr=1e-3, warmup=FIVE_EPOCHS).bind(PLAN)
    forward = [lr(step) for step in range(300)]
    assert [lr(step) for step in reversed(range(300))] == forward[::-1]

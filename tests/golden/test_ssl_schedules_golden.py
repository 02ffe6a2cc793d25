"""Schedules of the self-supervised and semi-supervised methods against the references', to double precision."""

import numpy as np
import pytest

from ppcore.config.durations import Duration, Plan
from ppssl import LinspaceCosine, Ramp, SevenSixteenths, SimCLRSchedule


def steps(count):
    return Duration(steps=count)


CASES = {
    "dino_momentum/0.996_to_1_100ep_10it": (LinspaceCosine(base_lr=0.996, final=1.0), Plan(10, 64, 1000)),
    "dino_wd/0.04_to_0.4_100ep_10it": (LinspaceCosine(base_lr=0.04, final=0.4), Plan(10, 64, 1000)),
    "dino_lr/0.0005x1024_warm10_100ep_10it": (
        LinspaceCosine(base_lr=5e-4, final=1e-6, warmup=Duration(epochs=10.0), reference_batch=256),
        Plan(10, 1024, 1000),
    ),
    "simclr_lr/sqrt_0.075_bs4096_n40960_100ep": (
        SimCLRSchedule(base_lr=0.075, warmup=steps(100), scaling="sqrt"), Plan(10, 4096, 1001),
    ),
    "simclr_lr/linear_0.3_bs512_n5000_20ep": (SimCLRSchedule(base_lr=0.3, warmup=steps(19)), Plan(9, 512, 196)),
    "fixmatch_lr/0.03_1000": (SevenSixteenths(base_lr=0.03), Plan(100, 64, 1000)),
    "lee_alpha/T1_100_T2_600_af_3": (Ramp(peak=3.0, start=steps(100), end=steps(600)), Plan(100, 64, 800)),
    "pseudo_warmup/0.4_of_1000": (Ramp(end=steps(400)), Plan(100, 64, 1000)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_schedule(golden, name):
    if not (golden / "ssl_schedules.npz").is_file():
        pytest.skip(f"no ssl_schedules.npz in {golden}")
    schedule, plan = CASES[name]
    want = np.load(golden / "ssl_schedules.npz")[name]
    values = schedule.bind(plan)
    np.testing.assert_allclose([values(step) for step in range(len(want))], want, rtol=1e-12, atol=1e-15)

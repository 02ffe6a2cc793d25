"""Learning rates and stochastic-depth rates against the references', to double precision."""

import json

import numpy as np
import pytest

from ppcore import schedules
from ppcore.config.durations import Duration, Plan
from ppcore.layers import drop_path_rates


@pytest.fixture(scope="module")
def reference(golden):
    if not (golden / "schedules.npz").is_file():
        pytest.skip(f"no schedules.npz in {golden}")
    return json.loads((golden / "schedules.json").read_text())["specs"], np.load(golden / "schedules.npz")


@pytest.mark.parametrize("name", ["deit300", "deit40"])
@pytest.mark.parametrize(
    ("array", "stepping", "prefix"),
    [
        ("official_deit_epoch_lr", "deit_official", False),
        ("timm_train_epoch_lr", "per_epoch", False),
        ("timm_per_update_lr", "per_update", False),
        ("timm_per_update_lr_warmup_prefix", "per_update", True),
    ],
)
def test_timm_cosine(reference, name, array, stepping, prefix):
    specs, arrays = reference
    spec = specs[name]
    updates = spec["updates_per_epoch"]
    plan = Plan(updates, 512, spec["epochs"] * updates)
    schedule = schedules.TimmCosine(
        base_lr=spec["base_lr"],
        warmup=Duration(epochs=float(spec["warmup_epochs"])),
        warmup_lr=spec["warmup_init"],
        min_lr=spec["min_lr"],
        stepping=stepping,
        warmup_prefix=prefix,
    ).bind(plan)
    want = arrays[f"{name}/{array}"]
    per_step = [schedule(step) for step in range(plan.total_steps)]
    got = per_step if stepping == "per_update" else per_step[::updates]
    if stepping != "per_update":  # one rate throughout an epoch
        assert per_step == [rate for rate in got for _ in range(updates)]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["vit_jax_cosine_2500", "vit_jax_linear_1000"])
def test_vit_schedule(reference, name):
    specs, arrays = reference
    spec = specs[name]
    schedule = schedules.ViTSchedule(
        base_lr=spec["base"],
        warmup=Duration(steps=spec["warmup"]),
        decay=spec["decay"],
        linear_end=spec["linear_end"] or 0.0,
    ).bind(Plan(100, 512, spec["total"]))
    got = [schedule(step) for step in range(spec["total"] + 1)]
    np.testing.assert_allclose(got, arrays[name], rtol=1e-12, atol=1e-18)


def test_scaling_rule(reference):
    for batch, rate in reference[1]["deit_lr_scaling"]:
        np.testing.assert_allclose(schedules.scaled_lr(5e-4, int(batch)), rate, rtol=1e-12)


def test_drop_path_rates(reference):
    for name in (n for n in reference[1].files if n.startswith("dpr_")):
        _, rate, depth, mode, *_ = name.split("_")
        got = drop_path_rates(float(rate), int(depth), mode)
        np.testing.assert_allclose(got, reference[1][name], rtol=0, atol=1e-7 if mode == "linear" else 1e-15)

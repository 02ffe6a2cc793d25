"""The deployed form is the same function as the model, for every option."""

import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from ppuhdfour import UHDFour

TINY = dict(scale=4, extract=4, widths=[4, 8, 12], fusion=4)
OPTIONS = [
    {}, {"paper": True}, {"block": "residual"}, {"spatial": False}, {"fourier": False}, {"adjust": "residual"},
    {"adjust_spatial": False}, {"modulate_amplitude": False}, {"guide_phase": False}, {"concat_low": False},
    {"modulate_amplitude": False, "guide_phase": False}, {"scale": 2, "refine": 2, "fusion": 8, "tail": 3},
]  # fmt: skip


def run(form, x):
    values = {"x": x}
    for stage in form.stages:
        outputs = stage.layer(*(values[name] for name in stage.inputs))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        values |= dict(zip(stage.outputs, outputs, strict=True))
    return values["y"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@paddle.no_grad()
def test_equals_the_model(options):
    paddle.seed(1)
    model = UHDFour(**{**TINY, **options})
    model.eval()
    form = model.export_spec()
    for tiles in ((9, 14), (11, 8)):
        shape = (1, 3, *(n * model.factor for n in tiles))
        errors = []
        for seed in range(3):
            x = paddle.to_tensor(np.random.default_rng(seed).random(shape).astype("float32") * np.float32(0.3))
            y = model(x)
            errors.append(((run(form, x) - y).abs().max() / y.abs().max()).item())
        # A phase within rounding of ±π may fall on the other side (docs/fourier.md); that is one image in many.
        assert sorted(errors)[1] <= 1e-5
        assert max(errors) <= 1e-2


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_pads_as_the_model_does(scale):
    model = UHDFour(**{**TINY, "scale": scale})
    padding = model.export_spec().padding
    sizes = [(1, 1), (5, 9), (31, 40), (32, 64), (63, 63), (64, 1), (130, 200)]
    assert [padding.size(*size) for size in sizes] == [model.padded_size(*size) for size in sizes]


def test_the_released_codes_undefined_phase_is_not_exported():
    with pytest.raises(ConfigError, match="raw=True"):
        UHDFour(**TINY, raw=True).export_spec()

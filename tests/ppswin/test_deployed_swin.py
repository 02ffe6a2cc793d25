"""The deployed form computes what the model does, with fewer reorderings."""

import numpy as np
import paddle
import pytest

from ppcore.layers.token_order import TokenOrder
from ppswin import SwinTransformer

SMALL = dict(
    img_size=32, patch_size=2, embed_dim=8, depths=(2, 3, 2), num_heads=(1, 2, 2), window_size=4, num_classes=5
)


def small(**changes) -> SwinTransformer:
    paddle.seed(1)
    model = SwinTransformer(**SMALL | changes)
    for parameter in model.parameters():  # no bias is zero, no scale one
        parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"img_size": (32, 64), "ape": True, "qkv_bias": False, "patch_norm": False},
        {"shifted": False, "qk_scale": 0.3},
        {"relative_bias": False},
        {"content_term": False},
        {"window_rule": "detection"},
    ],
    ids=lambda changes: ",".join(changes) or "published",
)
def test_the_same_function(changes):
    model = small(**changes)
    [stage] = model.export_spec().stages
    assert stage.layer is not model
    x = paddle.randn([3, *stage.inputs["x"][1:]])
    with paddle.no_grad():
        want, got = model(x), stage.layer(x)
    assert float((got - want).abs().max()) < 1e-5 * float(want.abs().max())


def test_one_reordering_between_two_attentions():
    """Into windows, shifted and back in the first two stages, three times in the second; the last stage is one window."""
    layer = small().export_spec().stages[0].layer
    steps = [type(step).__name__ for step in layer.steps]
    assert steps == [
        "TokenOrder", "DeployedBlock", "TokenOrder", "DeployedBlock", "DeployedMerging",
        "DeployedBlock", "TokenOrder", "DeployedBlock", "TokenOrder", "DeployedBlock", "DeployedMerging",
        "DeployedBlock", "DeployedBlock",
    ]  # fmt: skip
    assert all(not step.pads for step in layer.sublayers() if isinstance(step, TokenOrder))


@pytest.mark.parametrize("changes", [{"img_size": 36, "window_rule": "timm"}, {"num_classes": 0}])
def test_what_is_padded_or_has_no_head_is_exported_as_it_is(changes):
    model = small(**changes)
    assert model.export_spec().stages[0].layer is model


def test_a_class_of_its_own_is_exported_as_it_is():
    class Doubled(SwinTransformer):
        def forward(self, x):
            return 2 * super().forward(x)

    model = Doubled(**SMALL)
    assert model.export_spec().stages[0].layer is model
    assert not model.training
    assert np.isfinite(model(paddle.zeros([1, 3, 32, 32])).numpy()).all()

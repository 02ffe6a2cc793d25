"""The deployed form of DeiT, its distilled models and DeiT III."""

import numpy as np
import paddle
import pytest

import ppdeit
from ppcore.deploy.transformer import FoldedTransformer
from ppdeit.deit import DeiT, DistilledVisionTransformer
from ppdeit.deit3 import DeiT3

TINY = dict(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5)
KINDS = {
    "DeiT": (DeiT, {}),
    "distilled": (DistilledVisionTransformer, {}),
    "distilled, an odd number of tokens": (DistilledVisionTransformer, {"img_size": (4, 12)}),
    "class head": (DistilledVisionTransformer, {"eval_head": "class"}),
    "distillation head": (DistilledVisionTransformer, {"eval_head": "distillation"}),
    "distilled, no head": (DistilledVisionTransformer, {"num_classes": 0}),
    "DeiT III": (DeiT3, {"layer_scale_init": 0.3}),
    "DeiT III, gap": (DeiT3, {"layer_scale_init": 0.3, "pool": "gap"}),
}


def stirred(model):
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * 0.3).astype("float32"))
    model.eval()
    return model


@pytest.mark.parametrize("kind", KINDS)
@paddle.no_grad()
def test_equals_the_model(kind):
    cls, changes = KINDS[kind]
    model = stirred(cls(**{**TINY, **changes}))
    layer = model.export_spec().stages[0].layer
    assert type(layer) is FoldedTransformer
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((3, 3, *model.patch_embed.img_size), np.float32))
    expected = model(x).numpy()
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@paddle.no_grad()
def test_the_heads_answer_differently():
    """So that a head taken for another would show above."""
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((3, 3, 8, 8), np.float32))
    found = [
        stirred(DistilledVisionTransformer(**TINY, eval_head=head)).export_spec().stages[0].layer(x).numpy()
        for head in ("mean", "class", "distillation")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[one] - found[other]).max() > 0.1 * np.abs(found[0]).max()


class OwnHeads(DistilledVisionTransformer):
    def forward_heads(self, tokens):
        return self.head(tokens[:, 1]), self.head_dist(tokens[:, 0])


def test_a_class_of_somebody_elses_is_exported_as_it_is():
    model = OwnHeads(**TINY)
    assert model.export_spec().stages[0].layer is model


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"]
)
def test_builders_are_folded(name):
    model = getattr(ppdeit, name)(depth=1)
    assert type(model.export_spec().stages[0].layer) is FoldedTransformer

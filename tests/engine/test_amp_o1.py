"""AMP O1 on a CPU: the tokens between the blocks stay float32, as in a framework whose sums promote.

Paddle's own autocast decides what every operator computes in; a CPU ignores `auto_cast`, so its settings are made by
hand. The products, which autocast runs in bfloat16 and a CPU cannot, are float32 ones whose result is rounded.
"""

import numpy as np
import paddle
import pytest
from paddle.amp import amp_lists
from paddle.base import core
from paddle.base.framework import _dygraph_tracer

import ppdeit
import ppvit

SIZE = dict(img_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5, layer_scale_init=0.3)
MODELS = {"ViT": ppvit.VisionTransformer, "DeiT": ppdeit.DistilledVisionTransformer, "DeiT III": ppdeit.DeiT3}


def rounded(product):
    """A product as under autocast: its inputs and its result in bfloat16."""

    def call(*tensors, **kwargs):
        inputs = [t.astype("bfloat16").astype("float32") if isinstance(t, paddle.Tensor) else t for t in tensors]
        return product(*inputs, **kwargs).astype("bfloat16")

    return call


@pytest.fixture
def o1(monkeypatch):
    tracer = _dygraph_tracer()
    before = tracer._amp_level, tracer._amp_dtype, tracer._get_amp_op_list()
    tracer._amp_level, tracer._amp_dtype = core.AmpLevel.O1, "bfloat16"
    tracer._set_amp_op_list(set(), amp_lists.black_list()["bfloat16"]["O1"])
    for name in ("linear", "conv2d"):
        monkeypatch.setattr(paddle.nn.functional, name, rounded(getattr(paddle.nn.functional, name)))
    monkeypatch.setattr(paddle.nn.functional.conv, "_conv_nd", rounded(paddle.nn.functional.conv._conv_nd))
    monkeypatch.setattr(paddle, "matmul", rounded(paddle.matmul))
    yield
    tracer._amp_level, tracer._amp_dtype = before[:2]
    tracer._set_amp_op_list(*before[2])


@pytest.mark.parametrize("name", MODELS)
def test_tokens_between_blocks_stay_float32(name, o1):
    model = MODELS[name](**SIZE)
    model.eval()
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("float32"))
    assert model.blocks[0].attn.proj(paddle.ones([1, 2, 12])).dtype == paddle.bfloat16  # the emulation is at work
    stages = model.forward_intermediates(x)
    streams = [stage for stage in stages if stage.startswith("block") or stage in ("pos_embed", "norm")]
    assert len(streams) == 4
    assert {stage: stages[stage].dtype for stage in streams} == dict.fromkeys(streams, paddle.float32)


@pytest.mark.parametrize("name", MODELS)
def test_class_and_distillation_token_are_not_rounded(name, o1):
    model = MODELS[name](**SIZE)
    patches = paddle.ones([2, 4, 12], dtype="bfloat16")
    tokens = model.add_tokens(patches)
    assert tokens.dtype == paddle.float32
    learned = [model.cls_token, model.dist_token] if name == "DeiT" else [model.cls_token]
    want = [token[0, 0].numpy() for token in learned]
    if name != "DeiT III":  # whose class token has no position
        want = [token + model.pos_embed[0, i].numpy() for i, token in enumerate(want)]
    np.testing.assert_array_equal(tokens[0, : len(want)].numpy(), want)

"""Attention rollout of LITv2 against the product of whole matrices."""

import numpy as np
import paddle
import pytest

from pplit import LITv2


def of_hilo(attn, tokens: paddle.Tensor) -> np.ndarray:
    """[H·W, H·W] of one image: the mean over all heads of both paths."""
    (high, low), s = attn.attention_maps(tokens), attn.window_size
    height, width = tokens.shape[1:3]
    tall, wide = -(-height // s) * s, -(-width // s) * s
    window_of = np.arange(tall)[:, None] // s * (wide // s) + np.arange(wide) // s
    within = np.arange(tall)[:, None] % s * s + np.arange(wide) % s
    found = np.zeros((tall, wide, tall, wide))
    for place in np.ndindex(tall, wide):
        for other in np.ndindex(tall, wide):
            if high is not None and window_of[place] == window_of[other]:
                found[place + other] += high.numpy()[0, window_of[place], :, within[place], within[other]].sum()
            if low is not None:
                found[place + other] += low.numpy()[0, :, place[0] * wide + place[1], window_of[other]].sum() / s**2
    kept = found[:height, :width, :height, :width] / (attn.h_heads + attn.l_heads)
    return kept.reshape(height * width, height * width)


def slowly(model: LITv2, x: paddle.Tensor) -> np.ndarray:
    """For one image."""
    flows, tokens = [], model.patch_embed(x)
    for stage in model.layers:
        for block in stage.blocks:
            if block.attn is not None:
                found = of_hilo(block.attn, block.norm1(tokens))
                flows.append((found + np.eye(len(found))) / 2)
            tokens = block(tokens)
        if stage.downsample is not None:
            height, width = tokens.shape[1:3]
            merging = np.zeros((height // 2, width // 2, height, width))
            for place in np.ndindex(height, width):
                merging[place[0] // 2, place[1] // 2, *place] = 1 / 4
            flows.append(merging.reshape(height * width // 4, height * width))
            tokens = stage.downsample(tokens)
    product = np.full((1, tokens.shape[1] * tokens.shape[2]), 1 / (tokens.shape[1] * tokens.shape[2]))
    for flow in reversed(flows):
        product = product @ flow
    return product.reshape(model.patch_embed.grid)


@pytest.mark.parametrize(("alpha", "size"), [(0.5, (16, 16)), (0.0, (16, 8)), (1.0, (8, 16)), (0.5, (12, 20))])
def test_is_the_product_of_all_maps(alpha, size):
    paddle.seed(3)
    sizes = dict(patch_size=2, embed_dim=8, depths=(1, 2), num_heads=(2, 4), local_ws=(2, 2), num_classes=3)
    model = LITv2(img_size=size, alpha=alpha, **sizes)
    model.eval()
    for p in (p for p in model.parameters() if not p.stop_gradient):
        p.set_value(paddle.randn(p.shape) * (0.5 if p.ndim < 4 else 0.1))
    x = paddle.randn([2, 3, *size])
    found = model.attention_rollout(x)
    assert found.shape == (2, size[0] // 2, size[1] // 2)
    for i in range(2):
        np.testing.assert_allclose(found[i], slowly(model, x[i : i + 1]), rtol=1e-5)
    if size[0] % 8 == size[1] % 8 == 0:
        np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)

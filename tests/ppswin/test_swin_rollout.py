"""Attention rollout of a Swin Transformer against the product of whole matrices."""

import numpy as np
import paddle
import pytest

from ppswin import SwinTransformer

TINY = dict(patch_size=2, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=2, num_classes=3)


def whole(order: np.ndarray, attention: np.ndarray, count: int) -> np.ndarray:
    """[count, count] of attention [windows, N, N] whose places hold the tokens of `order`."""
    windows, side = attention.shape[:2]
    found = np.zeros((count + 1, count + 1))
    for w in range(windows):
        tokens = order[w * side : (w + 1) * side]
        for row, token in enumerate(tokens):
            found[token, tokens] += attention[w, row]
    return found[:count, :count]


def slowly(model: SwinTransformer, x: paddle.Tensor) -> np.ndarray:
    """For one image."""
    flows, tokens = [], model.embed(x)
    for stage in model.layers:
        count = stage.grid[0] * stage.grid[1]
        for block in stage.blocks:
            map_ = block.attn.attention_map(block.windows(block.norm1(tokens)), block.mask).numpy().mean(axis=1)
            flows.append((whole(block.partition.order, map_, count) + np.eye(count)) / 2)
            tokens = block(tokens)
        if stage.downsample is not None:
            tokens = stage.downsample(tokens)
            (h, w), merging = stage.grid, np.zeros((tokens.shape[1], count))
            for row in range(h):
                for column in range(w):
                    merging[row // 2 * -(-w // 2) + column // 2, row * w + column] = 1 / 4
            flows.append(merging)
    product = np.full((1, tokens.shape[1]), 1 / tokens.shape[1])
    for flow in reversed(flows):
        product = product @ flow
    return product.reshape(model.grid)


@pytest.mark.parametrize(("rule", "size"), [("official", (16, 16)), ("timm", (16, 12)), ("detection", (10, 14))])
def test_is_the_product_of_all_maps(rule, size):
    paddle.seed(3)
    model = SwinTransformer(img_size=size, window_rule=rule, **TINY)
    model.eval()
    for p in model.parameters():
        p.set_value(paddle.randn(p.shape) * 0.5)
    x = paddle.randn([2, 3, *size])
    found = model.attention_rollout(x)
    assert found.shape == (2, size[0] // 2, size[1] // 2)
    for i in range(2):
        np.testing.assert_allclose(found[i], slowly(model, x[i : i + 1]), rtol=1e-5)
    if rule == "official":
        np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert found.std() > 1e-3 / found[0].size, "attention tells places apart"

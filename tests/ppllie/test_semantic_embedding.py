"""SKF's embedding block against its formulas in float64 numpy, its options and its parameters."""

import numpy as np
import paddle
import pytest
from scipy.special import erf, softmax

from ppcore.config import components
from ppcore.errors import ConfigError
from ppllie import SemanticEmbedding

D, S, HEADS = 6, 5, 2


def convolve(x, weight, bias=None, groups=1):
    """[C, H, W] by a kernel [O, C / groups, k, k], zeros around."""
    inner, size = weight.shape[1:3]
    wide = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (size, size), axis=(1, 2))
    parts = [
        np.einsum("chwij,ocij->ohw", windows[g * inner : (g + 1) * inner], part)
        for g, part in enumerate(np.split(weight, groups))
    ]
    return np.concatenate(parts) + (0 if bias is None else bias[:, None, None])


def layer_norm(x, weight, bias):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * weight[:, None, None] + bias[:, None, None]


def expected(w, image, semantic, gelu):
    height, width = image.shape[1:]
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), semantic.shape[1:], strict=True))
    semantic = convolve(semantic[:, rows][:, :, columns], w["project.weight"], w["project.bias"])
    norm1 = w["norm1.weight"], w["norm1.bias"]
    image, semantic = layer_norm(image, *norm1), layer_norm(semantic, *norm1)
    q = convolve(convolve(semantic, w["attention.q.weight"]), w["attention.q_conv.weight"])
    kv = convolve(convolve(image, w["attention.kv.weight"]), w["attention.kv_conv.weight"], groups=2 * D)
    heads = []
    for head in range(HEADS):
        part = slice(head * D // HEADS, (head + 1) * D // HEADS)
        query, key, value = (x[part].reshape(D // HEADS, -1) for x in (q, kv[:D], kv[D:]))
        query, key = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, key))
        weights = softmax(query @ key.T * w["attention.temperature"][head, 0, 0], axis=1)
        heads.append(weights @ value)
    mixed = np.concatenate(heads).reshape(D, height, width)
    y = image + convolve(mixed, w["attention.out.weight"])
    hidden = convolve(layer_norm(y, w["norm2.weight"], w["norm2.bias"]), w["feed_forward.project_in.weight"])
    hidden = convolve(hidden, w["feed_forward.depthwise.weight"], groups=len(hidden))
    gate, value = np.split(hidden, 2)
    if gelu == "tanh":
        gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    else:
        gate = 0.5 * gate * (1 + erf(gate / np.sqrt(2)))
    return y + convolve(gate * value, w["feed_forward.project_out.weight"])


def filled(gelu):
    """A block whose weights are all far from where they start, and they as float64."""
    rng = np.random.default_rng(5)
    block = SemanticEmbedding(S, D, heads=HEADS, gelu=gelu)
    arrays = {}
    for name, p in block.named_parameters():
        spread = 0.5 if len(p.shape) == 1 or "temperature" in name else 1.5 / np.sqrt(np.prod(p.shape[1:]))
        arrays[name] = np.float32(rng.standard_normal(p.shape) * spread + ("norm" in name) * 1.0)
        p.set_value(arrays[name])
    return block, {name: array.astype(np.float64) for name, array in arrays.items()}


@pytest.mark.parametrize("size", [(4, 5), (8, 10), (3, 4), (9, 7)])
@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_equals_its_formulas(gelu, size):
    block, weights = filled(gelu)
    rng = np.random.default_rng(6)
    image, semantic = rng.standard_normal((2, D, *size)), rng.standard_normal((2, S, 4, 5))
    got = block(*(paddle.to_tensor(np.float32(x)) for x in (image, semantic))).numpy()
    want = np.stack([expected(weights, *pair, gelu) for pair in zip(image, semantic, strict=True)])
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    other = "erf" if gelu == "tanh" else "tanh"
    other = np.stack([expected(weights, *pair, other) for pair in zip(image, semantic, strict=True)])
    assert np.abs(got - other).max() > 4e-5 * np.abs(want).max()  # the two forms are told apart


@pytest.mark.parametrize(("channels", "count"), [((96, 32), 26_812), ((48, 16), 7_238), ((59, 16), 7_414)])
def test_parameters(channels, count):
    assert sum(p.size for p in SemanticEmbedding(*channels).parameters()) == count


def test_every_parameter_is_trained():
    block = SemanticEmbedding(S, D)
    out = block(paddle.randn([1, D, 6, 6]), paddle.randn([1, S, 3, 3]))
    (out**2).mean().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in block.parameters())


def test_as_a_component_and_what_is_refused():
    node = {"name": "ppllie.SemanticEmbedding", "semantic_channels": 3, "channels": 4, "gelu": "erf"}
    components.check(node, "Arch")
    assert isinstance(components.build(node), SemanticEmbedding)
    with pytest.raises(ConfigError, match="a multiple of 2 heads"):
        SemanticEmbedding(3, 5)
    with pytest.raises(ConfigError, match="gelu"):
        SemanticEmbedding(3, 4, gelu="relu")

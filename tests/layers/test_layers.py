"""Every layer against numpy, scipy or its own other forms."""

import math
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import scipy.ndimage
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcore.errors import ConfigError
from ppcore.layers import (
    Attention,
    Block,
    DropPath,
    LayerScale,
    Linear,
    Mlp,
    PatchEmbed,
    drop_path_rates,
    interpolate_pos_embed,
    pair,
    patchify,
    pixel_unshuffle,
)
from ppcore.layers.pos_embed import MATRICES


def fill(layer, seed=0, scale=0.5):
    """Random values in every parameter, so that no bias or gain hides a mistake."""
    rng = np.random.default_rng(seed)
    for p in layer.parameters():
        p.set_value((rng.standard_normal(p.shape) * scale).astype("float32"))
    return layer


def array(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def values(layer) -> dict[str, np.ndarray]:
    return {name: p.numpy().astype(np.float64) for name, p in layer.named_parameters()}


def attention_oracle(layer, x):
    """Equations 5 to 8 of the ViT paper, head by head; also the maps."""
    w = values(layer)
    qkv = x.astype(np.float64) @ w["qkv.weight"] + w.get("qkv.bias", 0)
    heads, d = layer.num_heads, layer.head_dim
    out, maps = [], []
    for h in range(heads):
        q, k, v = (qkv[..., (part * heads + h) * d : (part * heads + h + 1) * d] for part in range(3))
        maps.append(scipy.special.softmax(q @ k.transpose(0, 2, 1) / math.sqrt(d), axis=-1))
        out.append(maps[-1] @ v)
    return np.concatenate(out, -1) @ w["proj.weight"] + w["proj.bias"], np.stack(maps, 1)


ATTENTIONS = [
    dict(dim=12, num_heads=3),
    dict(dim=12, num_heads=3, head_dim=5),
    dict(dim=12, num_heads=5, head_dim=4),
    dict(dim=8, num_heads=1, qkv_bias=False),
    dict(dim=12, num_heads=4, head_dim=2, qkv_bias=False),
]


class TestAttention:
    @pytest.mark.parametrize("options", ATTENTIONS, ids=str)
    @pytest.mark.parametrize("form", ["forward", "_loop", "_transposed"])
    def test_is_the_formula(self, options, form):
        layer, x = fill(Attention(**options)), array(2, 7, options["dim"])
        tokens = paddle.to_tensor(x)
        got = layer(tokens) if form == "forward" else layer.proj(getattr(layer, form)(layer.qkv(tokens)))
        want, maps = attention_oracle(layer, x)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.attention_map(tokens).numpy(), maps, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("options", ATTENTIONS, ids=str)
    def test_forms_have_the_same_gradients(self, options):
        layer, pull = fill(Attention(**options)), paddle.to_tensor(array(2, 7, options["dim"], seed=2))
        gradients = {}
        for form in ("_loop", "_transposed"):
            x = paddle.to_tensor(array(2, 7, options["dim"]), stop_gradient=False)
            (layer.proj(getattr(layer, form)(layer.qkv(x))) * pull).sum().backward()
            gradients[form] = [x.grad.numpy()] + [p.grad.numpy() for p in layer.parameters()]
            layer.clear_gradients()
        assert len(gradients["_loop"]) == (5 if options.get("qkv_bias", True) else 4)
        for loop, transposed in zip(gradients["_loop"], gradients["_transposed"], strict=True):
            np.testing.assert_allclose(loop, transposed, rtol=1e-4, atol=1e-5)

    def test_gradient_equals_finite_differences(self):
        layer, pull = fill(Attention(6, 2, head_dim=2)), array(1, 4, 6, seed=2)
        x = paddle.to_tensor(array(1, 4, 6), stop_gradient=False)
        (layer(x) * paddle.to_tensor(pull)).sum().backward()
        base, numeric = array(1, 4, 6).astype(np.float64), np.zeros((1, 4, 6))
        for place in np.ndindex(*base.shape):
            up, down = base.copy(), base.copy()
            up[place] += 1e-5
            down[place] -= 1e-5
            numeric[place] = ((attention_oracle(layer, up)[0] - attention_oracle(layer, down)[0]) * pull).sum() / 2e-5
        np.testing.assert_allclose(x.grad.numpy(), numeric, rtol=1e-3, atol=1e-4)

    def test_qkv_bias_is_really_off(self):
        assert "qkv.bias" not in dict(Attention(8, 2, qkv_bias=False).named_parameters())
        assert "proj.bias" in dict(Attention(8, 2, qkv_bias=False).named_parameters())

    def test_dim_not_divisible_by_heads(self):
        with pytest.raises(ConfigError, match="num_heads is 3, but must be a divisor of the 10 channels"):
            Attention(10, 3)
        assert Attention(10, 3, head_dim=4).inner_dim == 12

    @pytest.mark.parametrize("form", ["_loop", "_transposed"])
    def test_attention_dropout(self, form):
        layer = fill(Attention(8, 2, attn_drop=0.5))
        qkv = layer.qkv(paddle.to_tensor(array(2, 30, 8)))
        layer.eval()
        still = getattr(layer, form)(qkv).numpy()
        np.testing.assert_array_equal(still, getattr(layer, form)(qkv).numpy())
        layer.train()
        paddle.seed(0)
        draws = np.stack([getattr(layer, form)(qkv).numpy() for _ in range(300)])
        assert draws.std(0).min() > 0
        assert (np.abs(draws.mean(0) - still) < 5 * draws.std(0) / math.sqrt(300) + 1e-6).all()

    @pytest.mark.parametrize(
        ("capability", "dtype", "form"),
        [
            ((7, 5), "float16", "_transposed"),
            ((7, 0), "bfloat16", "_transposed"),
            ((8, 0), "float16", "_flash"),
            ((9, 0), "bfloat16", "_flash"),
            ((9, 0), "float32", "_transposed"),
        ],
    )
    def test_flash_attention_only_on_cards_that_run_it(self, monkeypatch, capability, dtype, form):
        class Projected(paddle.nn.Layer):
            def forward(self, x):
                return paddle.zeros([1, 2, 24], dtype=dtype)

        layer = Attention(8, 2)
        layer.qkv, layer.proj, chosen = Projected(), paddle.nn.Identity(), []
        for name in ("_loop", "_transposed", "_flash"):
            monkeypatch.setattr(Attention, name, lambda self, qkv, name=name: chosen.append(name))
        monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(layer.proj_drop, "forward", lambda x: x)
        layer(SimpleNamespace(place=SimpleNamespace(is_cpu_place=lambda: False)))  # tokens on a GPU
        assert chosen == [form]

    @pytest.mark.gpu
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_flash_agrees(self, dtype):
        layer = fill(Attention(64, 2))
        x = paddle.to_tensor(array(2, 33, 64))
        want = layer._transposed(layer.qkv(x)).numpy()
        got = layer._flash(layer.qkv(x).astype(dtype)).astype("float32").numpy()
        np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).max())


class TestMlp:
    @pytest.mark.parametrize(
        ("act", "formula"),
        [
            ("gelu", lambda x: 0.5 * x * (1 + scipy.special.erf(x / math.sqrt(2)))),
            ("gelu_tanh", lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
            ("relu", lambda x: np.maximum(x, 0)),
        ],
    )
    def test_activations(self, act, formula):
        layer, x = fill(Mlp(6, 10, act=act), scale=1.0), array(3, 4, 6)
        w = values(layer)
        hidden = x.astype(np.float64) @ w["fc1.weight"] + w["fc1.bias"]
        want = formula(hidden) @ w["fc2.weight"] + w["fc2.bias"]
        np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), want, rtol=1e-5, atol=2e-5)

    def test_the_two_gelus_differ(self):
        x = paddle.to_tensor(array(3, 4, 6))
        erf, tanh = fill(Mlp(6, 10, act="gelu")), fill(Mlp(6, 10, act="gelu_tanh"))
        assert 1e-5 < np.abs(erf(x).numpy() - tanh(x).numpy()).max() < 1e-2

    def test_unknown_activation(self):
        with pytest.raises(ConfigError, match="act is 'swish', but must be 'gelu', 'gelu_tanh' or 'relu'"):
            Mlp(4, 4, act="swish")

    def test_dropout_follows_both_layers(self):
        layer = fill(Mlp(16, 64, drop=0.5))
        x = paddle.to_tensor(array(50, 16))
        paddle.seed(0)
        assert (layer(x).numpy() == 0).mean() == pytest.approx(0.5, abs=0.08)
        layer.eval()
        assert (layer(x).numpy() != 0).all()


class TestDropPath:
    def test_whole_samples_are_dropped_and_the_mean_stays(self):
        paddle.seed(0)
        layer, x = DropPath(0.3), paddle.ones([20000, 2, 3])
        y = layer(x).numpy()
        per_sample = y.reshape(20000, -1)
        assert (per_sample == per_sample[:, :1]).all()
        np.testing.assert_allclose(np.unique(per_sample[:, 0]), [0, 1 / 0.7], rtol=1e-6)
        # Five standard errors of a mean of 20000 draws.
        assert y.mean() == pytest.approx(1.0, abs=5 * math.sqrt(0.3 / 0.7 / 20000))

    def test_identity_in_evaluation_and_at_rate_0(self):
        x = paddle.to_tensor(array(4, 3))
        layer = DropPath(0.9)
        layer.eval()
        assert layer(x) is x
        assert DropPath(0.0)(x) is x

    def test_the_gradient_has_the_same_mask(self):
        paddle.seed(1)
        x = paddle.ones([64, 5])
        x.stop_gradient = False
        y = DropPath(0.5)(x)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), y.numpy())

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
    def test_rate_out_of_range(self, rate):
        with pytest.raises(ConfigError, match=f"rate is {rate}, but must be"):
            DropPath(rate)

    def test_rates(self):
        np.testing.assert_allclose(drop_path_rates(0.3, 4), [0, 0.1, 0.2, 0.3], atol=1e-12)
        assert drop_path_rates(0.3, 3, "constant") == [0.3] * 3
        assert drop_path_rates(0.3, 1) == [0.0]
        with pytest.raises(ConfigError, match="drop-path mode"):
            drop_path_rates(0.1, 3, "quadratic")


def test_layer_scale():
    layer = LayerScale(5, 1e-4)
    np.testing.assert_array_equal(layer.gamma.numpy(), np.full(5, 1e-4, np.float32))
    fill(layer)
    x = array(2, 3, 5)
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), x * layer.gamma.numpy(), rtol=1e-6)


def test_linear_is_in_by_out():
    layer = fill(Linear(3, 5))
    assert layer.weight.shape == [3, 5]
    x = array(2, 3)
    want = x @ layer.weight.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), want, rtol=1e-5, atol=1e-6)
    assert Linear(3, 5, bias=False).bias is None


@pytest.mark.parametrize(("fan_in", "fan_out"), [(4, 16), (16, 4), (6, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_gradients(fan_in, fan_out, bias):
    layer = fill(Linear(fan_in, fan_out, bias=bias))
    x, pull = array(2, 5, fan_in), array(2, 5, fan_out, seed=2)
    tokens = paddle.to_tensor(x, stop_gradient=False)
    y = layer(tokens)
    want = x @ layer.weight.numpy() + (layer.bias.numpy() if bias else 0)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-4, atol=1e-5)
    (y * paddle.to_tensor(pull)).sum().backward()
    np.testing.assert_allclose(tokens.grad.numpy(), pull @ layer.weight.numpy().T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.einsum("bni,bno->io", x, pull), rtol=1e-4, atol=1e-5)
    if bias:
        np.testing.assert_allclose(layer.bias.grad.numpy(), pull.sum((0, 1)), rtol=1e-4, atol=1e-5)


class TestBlock:
    def norm(self, x, w, name, eps):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    @pytest.mark.parametrize("layer_scale", [None, 0.5])
    @pytest.mark.parametrize("eps", [1e-6, 1e-3])
    def test_is_pre_norm_with_two_residuals(self, layer_scale, eps):
        block = fill(Block(12, 3, mlp_dim=20, layer_scale_init=layer_scale, norm_eps=eps, act="relu"))
        x = array(2, 5, 12) * 0.05  # small, so that epsilon matters
        w = values(block)
        g1, g2 = w.get("ls1.gamma", 1.0), w.get("ls2.gamma", 1.0)
        y = x + g1 * attention_oracle(block.attn, self.norm(x.astype(np.float64), w, "norm1", eps))[0]
        hidden = np.maximum(self.norm(y, w, "norm2", eps) @ w["mlp.fc1.weight"] + w["mlp.fc1.bias"], 0)
        want = y + g2 * (hidden @ w["mlp.fc2.weight"] + w["mlp.fc2.bias"])
        np.testing.assert_allclose(block(paddle.to_tensor(x)).numpy(), want, rtol=1e-4, atol=2e-5)

    def test_drop_path_acts_on_both_branches(self):
        paddle.seed(0)
        block = fill(Block(8, 2, mlp_dim=8, drop_path=0.5))
        x = paddle.to_tensor(np.repeat(array(1, 3, 8), 400, axis=0))
        outcomes = np.unique(np.round(block(x).numpy().reshape(400, -1), 4), axis=0)
        assert len(outcomes) == 4  # each branch on or off
        block.eval()
        assert len(np.unique(np.round(block(x).numpy().reshape(400, -1), 4), axis=0)) == 1

    def test_names_are_the_fields(self):
        names = {name for name, _ in Block(8, 2, mlp_dim=8, layer_scale_init=1e-4).named_parameters()}
        layers = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
        assert names == {f"{n}.{end}" for n in layers for end in ("weight", "bias")} | {"ls1.gamma", "ls2.gamma"}


def patches_of(x, ph, pw):
    """Row by row, each [C, ph, pw]."""
    return [x[:, :, i : i + ph, j : j + pw] for i in range(0, x.shape[2], ph) for j in range(0, x.shape[3], pw)]


class TestPatches:
    @pytest.mark.parametrize(("size", "patch"), [(8, 4), ((8, 12), 4), ((6, 8), (3, 2)), ((4, 20), (4, 5))])
    @pytest.mark.parametrize("bias", [True, False])
    def test_embedding(self, size, patch, bias):
        layer = fill(PatchEmbed(size, patch, in_chans=2, embed_dim=5, bias=bias))
        (h, w), (ph, pw) = pair(size), pair(patch)
        assert layer.grid == (h // ph, w // pw)
        x = array(3, 2, h, w)
        weight = layer.proj.weight.numpy().astype(np.float64)
        offset = layer.proj.bias.numpy() if bias else 0.0
        want = np.stack([np.einsum("bcij,dcij->bd", p, weight) + offset for p in patches_of(x, ph, pw)], 1)
        np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), want, rtol=1e-4, atol=1e-5)
        assert (layer.proj.bias is not None) == bias

    @pytest.mark.parametrize(("size", "patch"), [(225, 16), ((224, 230), 16), (8, 16), ((7, 8), (2, 3))])
    def test_not_a_whole_number_of_patches(self, size, patch):
        with pytest.raises(ConfigError, match="not a whole number") as raised:
            PatchEmbed(size, patch)
        assert "\n" not in str(raised.value)
        # The size it suggests works.
        suggested = tuple(int(n) for n in str(raised.value).split("such as ")[1].split("x"))
        PatchEmbed(suggested, patch, embed_dim=4)

    def test_an_image_of_another_size(self):
        layer = PatchEmbed((8, 12), 4, embed_dim=4)
        with pytest.raises(ValueError, match=r"built for 8x12 images and got 12x8"):
            layer(paddle.zeros([1, 3, 12, 8]))

    @pytest.mark.parametrize("patch", [4, (2, 3), (6, 1)])
    def test_patchify(self, patch):
        ph, pw = pair(patch)
        x = array(2, 3, 12, 12)
        want = np.stack([p.transpose(0, 2, 3, 1).reshape(2, -1) for p in patches_of(x, ph, pw)], 1)
        np.testing.assert_array_equal(patchify(paddle.to_tensor(x), patch).numpy(), want)

    def test_patchify_needs_whole_patches(self):
        with pytest.raises(ValueError, match="not a whole number"):
            patchify(paddle.zeros([1, 1, 5, 4]), 2)

    @pytest.mark.parametrize("factor", [1, 2, 4])
    def test_pixel_unshuffle(self, factor):
        x = array(2, 3, 8, 12)
        got = pixel_unshuffle(paddle.to_tensor(x), factor).numpy()
        assert got.shape == (2, 3 * factor**2, 8 // factor, 12 // factor)
        for c in range(3):
            for dy in range(factor):
                for dx in range(factor):
                    channel = c * factor**2 + dy * factor + dx
                    np.testing.assert_array_equal(got[:, channel], x[:, c, dy::factor, dx::factor])


def resample_1d(signal, new, mode):
    """One axis, one output at a time, from each reference's definition; edges as that reference has them."""
    old = len(signal)

    def keys(t, a):
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    out = []
    for i in range(new):
        if mode == "google_zoom_order1":
            centre = i * (old - 1) / (new - 1) if new > 1 else 0.0
        else:
            centre = (i + 0.5) * old / new - 0.5
        if mode == "timm_bicubic_antialias":  # taps of the widened kernel that lie inside, renormalised
            stretch = max(old / new, 1.0)
            taps = [(keys((j - centre) / stretch, -0.5), signal[j]) for j in range(old)]
            out.append(sum(w * s for w, s in taps) / sum(w for w, _ in taps))
        elif mode == "deit_bicubic":  # four taps, border repeated
            base = math.floor(centre)
            out.append(
                sum(keys(centre - j, -0.75) * signal[min(max(j, 0), old - 1)] for j in range(base - 1, base + 3))
            )
        else:
            out.append(np.interp(centre, np.arange(old), signal))
    return np.array(out)


class TestPosEmbed:
    def embed(self, h, w, prefix=1, dim=3):
        return np.random.default_rng(0).standard_normal((1, prefix + h * w, dim)).astype("float32")

    @pytest.mark.parametrize("mode", MATRICES)
    def test_the_same_grid_is_copied(self, mode):
        x = self.embed(3, 4)
        got = interpolate_pos_embed(x, (3, 4), (3, 4), mode=mode)
        np.testing.assert_array_equal(got, x)
        assert got is not x
        # And the resampling itself would have changed nothing either.
        np.testing.assert_allclose(MATRICES[mode](7, 7), np.eye(7), atol=1e-12)

    @settings(max_examples=60)
    @given(mode=st.sampled_from(sorted(MATRICES)), new=st.integers(1, 40), old=st.integers(1, 40))
    def test_constants_stay_constant(self, mode, new, old):
        np.testing.assert_allclose(MATRICES[mode](new, old).sum(1), 1, atol=1e-9)

    @pytest.mark.parametrize("prefix", [0, 1, 2])
    @pytest.mark.parametrize("mode", MATRICES)
    def test_prefix_rows_are_copied(self, mode, prefix):
        x = self.embed(4, 4, prefix)
        got = interpolate_pos_embed(x, (4, 4), (6, 5), num_prefix_tokens=prefix, mode=mode)
        assert got.shape == (1, prefix + 30, 3)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got[:, :prefix], x[:, :prefix])
        without = interpolate_pos_embed(x[:, prefix:], (4, 4), (6, 5), num_prefix_tokens=0, mode=mode)
        np.testing.assert_array_equal(got[:, prefix:], without)

    @pytest.mark.parametrize("mode", MATRICES)
    @pytest.mark.parametrize(
        ("old", "new"), [((4, 6), (7, 9)), ((7, 7), (12, 12)), ((9, 5), (4, 3)), ((6, 6), (6, 11)), ((3, 3), (1, 5))]
    )
    def test_every_mode_is_its_definition(self, mode, old, new):
        x = self.embed(*old)
        got = interpolate_pos_embed(x, old, new, mode=mode)[0, 1:].reshape(*new, 3)
        grid = x[0, 1:].astype(np.float64).reshape(*old, 3)
        rows = np.apply_along_axis(resample_1d, 0, grid, new[0], mode)
        want = np.apply_along_axis(resample_1d, 1, rows, new[1], mode)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(("old", "new"), [((4, 6), (7, 9)), ((9, 5), (4, 3)), ((14, 14), (24, 24))])
    def test_googles_is_scipys_zoom(self, old, new):
        x = self.embed(*old)
        got = interpolate_pos_embed(x, old, new, mode="google_zoom_order1")[0, 1:].reshape(*new, 3)
        grid = x[0, 1:].astype(np.float64).reshape(*old, 3)
        want = scipy.ndimage.zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

    def test_modes_differ(self):
        x = self.embed(7, 7)
        results = [
            interpolate_pos_embed(x, (7, 7), (12, 12), mode=m) for m in sorted(set(MATRICES) - {"timm_npz_loader"})
        ]
        for i, one in enumerate(results):
            for other in results[:i]:
                assert np.abs(one - other).max() > 1e-2

    def test_rows_and_columns_are_not_exchanged(self):
        ramp = np.repeat(np.arange(4.0), 3).reshape(1, 12, 1)  # value = row of a 4 × 3 grid
        got = interpolate_pos_embed(ramp, (4, 3), (7, 5), num_prefix_tokens=0, mode="google_zoom_order1")
        np.testing.assert_allclose(got.reshape(7, 5), np.repeat(np.linspace(0, 3, 7), 5).reshape(7, 5), atol=1e-12)

    @pytest.mark.parametrize(
        ("shape", "grid", "prefix"),
        [((1, 17, 3), (4, 4), 0), ((2, 17, 3), (4, 4), 1), ((17, 3), (4, 4), 1), ((1, 17, 3), (4, 5), 1)],
    )
    def test_a_shape_that_does_not_fit(self, shape, grid, prefix):
        with pytest.raises(ValueError, match="expected"):
            interpolate_pos_embed(np.zeros(shape, "float32"), grid, (6, 6), num_prefix_tokens=prefix)

    def test_unknown_mode(self):
        with pytest.raises(ConfigError, match="pos_embed is 'nearest', but must be one of deit_bicubic"):
            interpolate_pos_embed(self.embed(2, 2), (2, 2), (3, 3), mode="nearest")

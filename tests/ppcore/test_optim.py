"""Optimisers: exactly the named tensors decay, and one clip factor serves all."""

import numpy as np
import paddle
import pytest

from ppcore import optim
from ppcore.errors import ConfigError
from ppvit import VisionTransformer

TINY = dict(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=10)
RULES = ["1d", "pos_embed", "cls_token"]
FACTORIES = {
    "AdamW": optim.AdamW,
    "Adam": optim.Adam,
    "Momentum": optim.Momentum,
    "SGD": optim.SGD,
    "Lamb": optim.Lamb,
}


def tiny() -> VisionTransformer:
    paddle.seed(0)
    model = VisionTransformer(**TINY)
    with paddle.no_grad():
        for p in model.parameters():  # no tensor at zero, which no decay could shrink
            p.set_value(paddle.uniform(p.shape, min=0.5, max=1.5))
    return model


class TestRules:
    def test_the_papers_rule(self):
        model = tiny()
        got = optim.decayed_names(model, RULES)
        blocks = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
        want = {f"blocks.{i}.{part}.weight" for i in range(2) for part in blocks}
        assert got == want | {"patch_embed.proj.weight", "head.weight"}

    def test_no_rules_decay_everything(self):
        model = tiny()
        assert optim.decayed_names(model, []) == {name for name, _ in model.named_parameters()}

    def test_1d_spares_vectors_and_nothing_else(self):
        model = tiny()
        spared = {name for name, _ in model.named_parameters()} - optim.decayed_names(model, ["1d"])
        assert spared == {name for name, p in model.named_parameters() if p.ndim == 1}

    def test_a_part_of_a_name_is_a_whole_part(self):
        model = tiny()
        spared = {name for name, _ in model.named_parameters()} - optim.decayed_names(model, ["norm"])
        assert spared == {"norm.weight", "norm.bias"}  # not norm1, not norm2
        spared = {name for name, _ in model.named_parameters()} - optim.decayed_names(model, ["0"])
        assert all(name.startswith("blocks.0.") for name in spared)
        assert len(spared) == 12

    @pytest.mark.parametrize("rule", ["pos_embd", "biass", "blocks.0", "", "qkv.bias"])
    def test_a_rule_that_matches_nothing(self, rule):
        with pytest.raises(ConfigError) as raised:
            optim.decayed_names(tiny(), ["1d", rule])
        assert f"'{rule}'" in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_the_nearest_rule_is_named(self):
        with pytest.raises(ConfigError, match="did you mean 'pos_embed'"):
            optim.decayed_names(tiny(), ["pos_embd"])

    def test_what_not_every_form_has_may_be_named(self):
        model = tiny()
        assert optim.decayed_names(model, ["1d", "dist_token?"]) == optim.decayed_names(model, ["1d"])
        assert optim.decayed_names(model, ["pos_embed?"]) == optim.decayed_names(model, ["pos_embed"])

    def test_frozen_tensors_are_left_out(self):
        model = tiny()
        model.head.weight.stop_gradient = True
        assert "head.weight" not in optim.decayed_names(model, [])


@pytest.mark.parametrize("kind", FACTORIES)
def test_with_zero_gradients_exactly_the_decayed_tensors_shrink(kind):
    # PaddleViT's rule matches nothing and decays 35 tensors of 35; Adam's L2 term is a gradient,
    # so there "shrinks" means a step of about lr, for the others it is the factor of the formula.
    tiny()  # another model first: parameter names shift
    model = tiny()
    optimizer = optim.make(model, FACTORIES[kind], weight_decay=0.1, no_weight_decay=RULES)
    optimizer.set_lr(0.01)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    for p in model.parameters():
        (p * 0.0).sum().backward()
    optimizer.step()
    decayed = optim.decayed_names(model, RULES)
    assert len(decayed) == 10
    for name, p in model.named_parameters():
        after, old = p.numpy(), before[name]
        if name not in decayed:
            np.testing.assert_array_equal(after, old, err_msg=name)
            continue
        assert (after < old).all(), name
        if kind in ("AdamW", "SGD", "Momentum"):
            np.testing.assert_allclose(after, old * (1 - 0.01 * 0.1), rtol=1e-6, err_msg=name)
        elif kind == "Adam":
            np.testing.assert_allclose(after, old - 0.01, rtol=1e-5, err_msg=name)
        else:  # LAMB: r = decay · w, trust ratio |w| / |r|
            np.testing.assert_allclose(after, old * (1 - 0.01), rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", FACTORIES)
def test_without_decay_and_gradients_nothing_moves(kind):
    model = tiny()
    optimizer = optim.make(model, FACTORIES[kind], weight_decay=0.0, no_weight_decay=[])
    optimizer.set_lr(0.01)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    for p in model.parameters():
        (p * 0.0).sum().backward()
    optimizer.step()
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.numpy(), before[name], err_msg=name)


@pytest.mark.parametrize("kind", FACTORIES)
def test_steps_follow_the_formulas(kind):
    """Five steps of each update rule against numpy in double precision."""
    rng = np.random.default_rng(0)
    lr, decay = 0.02, 0.1
    layer = paddle.nn.Linear(4, 3)
    optimizer = optim.make(layer, FACTORIES[kind], weight_decay=decay, no_weight_decay=["1d"])
    optimizer.set_lr(lr)
    for p in layer.parameters():
        p.set_value(rng.standard_normal(p.shape).astype("float32"))
    state = {name: [p.numpy().astype(np.float64), 0.0, 0.0] for name, p in layer.named_parameters()}
    for t in range(1, 6):
        for name, p in layer.named_parameters():
            g = rng.standard_normal(p.shape)
            (p * paddle.to_tensor(g.astype("float32"))).sum().backward()
            w, m, v = state[name]
            wd = decay if name == "weight" else 0.0
            if kind in ("Adam", "SGD", "Momentum"):
                g = g + wd * w
            if kind == "SGD":
                w = w - lr * g
            elif kind == "Momentum":
                m = 0.9 * m + g
                w = w - lr * m
            else:
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                eps = 1e-6 if kind == "Lamb" else 1e-8
                r = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps)
                if kind == "Lamb":
                    r = r + wd * w
                    # As in timm and apex, a tensor that does not decay has no trust ratio either.
                    r = r * np.linalg.norm(w) / np.linalg.norm(r) if wd else r
                elif kind == "AdamW":
                    w = w * (1 - lr * wd)
                w = w - lr * r
            state[name] = [w, m, v]
        optimizer.step()
        optimizer.clear_grad()
    for name, p in layer.named_parameters():
        # Paddle adds Adam's epsilon before the bias correction, hence not closer.
        np.testing.assert_allclose(p.numpy(), state[name][0], rtol=2e-5, atol=2e-6, err_msg=f"{kind} {name}")


class TestClip:
    def gradients(self, scale):
        rng = np.random.default_rng(1)
        model = tiny()
        values = []
        for p in model.parameters():
            g = (rng.standard_normal(p.shape) * scale).astype("float32")
            (p * paddle.to_tensor(g)).sum().backward()
            values.append(g)
        return model, values

    @pytest.mark.parametrize("scale", [1.0, 1e-4])
    def test_one_factor_for_all_tensors(self, scale):
        model, values = self.gradients(scale)
        norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in values))
        assert (norm > 1) == (scale == 1.0)
        got = optim.clip_grad_norm(model.parameters(), 1.0)
        np.testing.assert_allclose(float(got), norm, rtol=1e-5)
        factor = min(1.0, 1.0 / (norm + 1e-6))
        for p, g in zip(model.parameters(), values, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), g * factor, rtol=1e-5, atol=1e-12)

    def test_without_a_limit_it_only_measures(self):
        model, values = self.gradients(3.0)
        norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in values))
        np.testing.assert_allclose(float(optim.clip_grad_norm(model.parameters(), None)), norm, rtol=1e-5)
        for p, g in zip(model.parameters(), values, strict=True):
            np.testing.assert_array_equal(p.grad.numpy(), g)

    def test_tensors_without_a_gradient_are_passed_over(self):
        used, unused = paddle.nn.Linear(2, 2), paddle.nn.Linear(2, 2)
        used(paddle.ones([1, 2])).sum().backward()
        norm = optim.clip_grad_norm([*used.parameters(), *unused.parameters()], 0.5)
        np.testing.assert_allclose(float(norm), np.sqrt(6), rtol=1e-6)
        assert unused.weight.grad is None

    def test_gradients_are_scaled_where_they_lie(self, monkeypatch):
        # On a GPU, Paddle 2.6's set_value takes a tensor through the host.
        model, values = self.gradients(1.0)

        def to_host(*_):
            raise AssertionError("a gradient goes through the host")

        with monkeypatch.context() as patch:
            for name in ("set_value", "numpy", "tolist", "item", "cpu"):
                patch.setattr(paddle.Tensor, name, to_host)
            norm = optim.clip_grad_norm(model.parameters(), 1.0)
        factor = np.float32(1.0) / (norm.numpy() + np.float32(1e-6))
        for p, g in zip(model.parameters(), values, strict=True):
            np.testing.assert_array_equal(p.grad.numpy(), g * factor)

    def test_the_optimiser_uses_the_clipped_gradients(self):
        layer = paddle.nn.Linear(3, 1, bias_attr=False)
        start = layer.weight.numpy().copy()
        optimizer = optim.make(layer, optim.SGD, weight_decay=0.0, no_weight_decay=[])
        optimizer.set_lr(1.0)
        (layer(paddle.to_tensor([[3.0, 0.0, 4.0]]))).sum().backward()
        optim.clip_grad_norm(layer.parameters(), 1.0)
        optimizer.step()
        np.testing.assert_allclose(start - layer.weight.numpy(), [[0.6], [0.0], [0.8]], atol=1e-6)

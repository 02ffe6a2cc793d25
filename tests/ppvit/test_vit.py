"""ViT: counts, shapes, arguments, initial values, static export."""

import math
from pathlib import Path

import numpy as np
import paddle
import pytest
import scipy.stats

import ppvit
import ppvit.hybrid
from ppcore.errors import ConfigError
from ppcore.layers import Block
from ppcore.report import load_paper
from ppvit import VisionTransformer

ROOT = Path(__file__).resolve().parents[2]
TINY = dict(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5)
COUNTS = {item.builder: item.params for item in load_paper(ROOT / "papers" / "vit.yaml").architecture}


def tiny(**changes) -> VisionTransformer:
    paddle.seed(0)
    return VisionTransformer(**{**TINY, **changes})


def image(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape or (2, 3, 8, 8)).astype("float32"))


def stir(model, scale=0.2):
    """Random values everywhere, so that no zero hides a mistake."""
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.set_value((rng.standard_normal(p.shape) * scale).astype("float32"))
    model.eval()
    return model


class TestBuilders:
    def test_every_builder_of_the_paper_file_is_public_and_the_other_way_round(self):
        public = {name for name in ppvit.__all__ if name.startswith("vit_")}
        assert public == set(COUNTS)
        assert len(COUNTS) == 24
        for name in public:
            assert getattr(ppvit, name).__doc__, name

    @pytest.mark.parametrize("name", sorted(COUNTS))
    def test_parameter_count_to_the_unit(self, name):
        with paddle.LazyGuard():
            model = getattr(ppvit, name)()
        assert sum(math.prod(p.shape) for p in model.parameters()) == COUNTS[name]

    @pytest.mark.parametrize("name", sorted(COUNTS))
    def test_the_name_says_the_image_size(self, name):
        with paddle.LazyGuard():
            model = getattr(ppvit, name)(depth=1)
        size = int(name.rpartition("_")[2])
        assert model.patch_embed.img_size == (size, size)
        if "patch" in name:
            patch = int(name.split("patch")[1].split("_")[0])
            assert model.grid == (size // patch, size // patch)

    @pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_huge_patch14_224", "vit_tiny_r_s16_p8_224"])
    def test_arguments_are_keywords_and_unknown_ones_are_refused(self, name):
        builder = getattr(ppvit, name)
        with pytest.raises(TypeError, match="drop_rat"):
            builder(drop_rat=0.1)
        with pytest.raises(TypeError):
            builder(224)
        with paddle.LazyGuard():
            assert builder(num_classes=7, depth=1).head.weight.shape[1] == 7

    def test_the_class_takes_keywords_only(self):
        with pytest.raises(TypeError):
            VisionTransformer(224)


class TestForward:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"pool": "gap"},
            {"representation_size": 6},
            {"num_classes": 0},
            {"layer_scale_init": 0.1},
            {"head_dim": 3},
        ],
        ids=str,
    )
    def test_is_its_parts(self, options):
        model, x = stir(tiny(**options)), image()
        tokens = model.forward_features(x)
        assert tokens.shape == [2, 5, 16]
        logits = model(x)
        np.testing.assert_array_equal(logits.numpy(), model.forward_head(tokens).numpy())
        features = model.forward_head(tokens, pre_logits=True)
        width = options.get("representation_size", 16)
        assert features.shape == [2, width]
        if options.get("num_classes") == 0:
            np.testing.assert_array_equal(logits.numpy(), features.numpy())
        else:
            want = features.numpy() @ model.head.weight.numpy() + model.head.bias.numpy()
            np.testing.assert_allclose(logits.numpy(), want, rtol=1e-4, atol=1e-5)

    def test_pooling(self):
        x = image()
        token, gap = stir(tiny()), stir(tiny(pool="gap"))
        tokens = token.forward_features(x).numpy()
        np.testing.assert_array_equal(
            token.forward_head(token.forward_features(x), pre_logits=True).numpy(), tokens[:, 0]
        )
        mean = gap.forward_head(gap.forward_features(x), pre_logits=True).numpy()
        np.testing.assert_allclose(mean, tokens[:, 1:].mean(1), rtol=1e-5, atol=1e-6)  # without the class token

    def test_representation_layer_ends_in_tanh(self):
        model, x = stir(tiny(representation_size=6)), image()
        pooled = model.forward_features(x).numpy()[:, 0]
        want = np.tanh(pooled @ model.pre_logits.fc.weight.numpy() + model.pre_logits.fc.bias.numpy())
        got = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)

    def test_class_token_comes_first_and_positions_are_added_after_it(self):
        model, x = stir(tiny()), image()
        patches = model.patch_embed(x).numpy()
        want = np.concatenate([np.repeat(model.cls_token.numpy(), 2, 0), patches], 1) + model.pos_embed.numpy()
        np.testing.assert_allclose(model.add_tokens(model.patch_embed(x)).numpy(), want, rtol=1e-6)

    def test_intermediates(self):
        model, x = stir(tiny(representation_size=6)), image()
        stages = model.forward_intermediates(x)
        assert {name: t.shape for name, t in stages.items()} == {
            "patch_embed": [2, 4, 16],
            "pos_embed": [2, 5, 16],
            "block_00": [2, 5, 16],
            "block_01": [2, 5, 16],
            "norm": [2, 5, 16],
            "pre_logits": [2, 6],
            "logits": [2, 5],
        }
        assert list(stages)[:4] == ["patch_embed", "pos_embed", "block_00", "block_01"]
        np.testing.assert_array_equal(stages["logits"].numpy(), model(x).numpy())
        np.testing.assert_array_equal(stages["norm"].numpy(), model.forward_features(x).numpy())
        np.testing.assert_array_equal(stages["block_01"].numpy(), model.blocks[1](stages["block_00"]).numpy())

    def test_attention_maps(self):
        model, x = stir(tiny()), image()
        maps = model.attention_maps(x)
        assert [m.shape for m in maps] == [[2, 2, 5, 5]] * 2
        for m in maps:
            np.testing.assert_allclose(m.sum(-1).numpy(), 1, rtol=1e-5)
        # The maps are those the forward pass uses: rebuild block 1's attention from its map.
        attn = model.blocks[1].attn
        normed = model.blocks[1].norm1(model.forward_intermediates(x)["block_00"])
        v = attn.qkv(normed).numpy()[..., 32:].reshape(2, 5, 2, 8).transpose(0, 2, 1, 3)
        mixed = (maps[1].numpy() @ v).transpose(0, 2, 1, 3).reshape(2, 5, 16)
        want = mixed @ attn.proj.weight.numpy() + attn.proj.bias.numpy()
        np.testing.assert_allclose(attn(normed).numpy(), want, rtol=1e-4, atol=1e-5)

    def test_rectangular_images(self):
        model = stir(tiny(img_size=(8, 12), patch_size=(4, 2)))
        assert model.grid == (2, 6)
        assert model.pos_embed.shape == [1, 13, 16]
        assert model(image(2, 3, 8, 12)).shape == [2, 5]
        with pytest.raises(ValueError, match="8x12"):
            model(image(2, 3, 12, 8))

    def test_other_channels(self):
        assert stir(tiny(in_chans=1))(image(2, 1, 8, 8)).shape == [2, 5]

    def test_a_batch_is_its_images(self):
        model, x = stir(tiny()), image(5, 3, 8, 8)
        one_by_one = np.concatenate([model(x[i : i + 1]).numpy() for i in range(5)])
        np.testing.assert_allclose(model(x).numpy(), one_by_one, rtol=1e-4, atol=1e-5)

    def test_two_models_in_one_process(self):
        first, x = stir(tiny()), image()
        before = first(x).numpy()
        second = tiny()
        names = [set(m.state_dict()) for m in (first, second)]
        assert names[0] == names[1]
        second.set_state_dict(first.state_dict())
        second.eval()
        np.testing.assert_array_equal(second(x).numpy(), before)
        np.testing.assert_array_equal(first(x).numpy(), before)
        with paddle.no_grad():
            second.head.bias.set_value(second.head.bias + 1)
        np.testing.assert_array_equal(first(x).numpy(), before)

    def test_dropout_is_on_in_training_only(self):
        model = stir(tiny(drop_rate=0.3, attn_drop_rate=0.2, drop_path_rate=0.2))
        x = image()
        np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
        model.train()
        assert (model(x).numpy() != model(x).numpy()).any()
        assert [block.drop_path1.rate for block in model.blocks] == [0.0, 0.2]
        constant = tiny(drop_path_rate=0.2, drop_path_mode="constant")
        assert [block.drop_path2.rate for block in constant.blocks] == [0.2, 0.2]


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (dict(pool="max"), "pool is 'max', but must be 'token' or 'gap'"),
            (dict(init="keras"), "init is 'keras'"),
            (dict(act="swish"), "act is 'swish'"),
            (dict(drop_path_mode="x"), "drop_path_mode is 'x'"),
            (dict(drop_path_rate=1.0, depth=2), r"drop_path_rate is 1.0, but must be a number in \[0, 1\)"),
            (dict(drop_rate=2), "VisionTransformer: drop_rate is 2,"),
            (dict(attn_drop_rate=-0.1), "attn_drop_rate is -0.1"),
            (dict(depth=-1), "depth is -1, but must be a whole number from 1 on"),
            (dict(num_classes=-1), "num_classes is -1, but must be a whole number from 0 on"),
            (dict(mlp_ratio=0), "mlp_ratio is 0, but must be a number above 0"),
            (dict(mlp_ratio=0.01), "mlp_ratio is 0.01, but must be at least"),
            (dict(mlp_dim=0), "mlp_dim is 0, but must be a whole number from 1 on or None"),
            (dict(layer_scale_init=float("inf")), "layer_scale_init is inf"),
            (dict(norm_eps=-1e-6), "norm_eps is -1e-06"),
            (dict(img_size=9), "whole number"),
            (dict(img_size=0), "img_size is 0"),
            (dict(img_size=[8, 8, 8]), r"img_size is \[8, 8, 8\]"),
            (dict(patch_size=0), "patch_size is 0"),
            (dict(patch_size=32), "32x32 patches"),
            (dict(num_heads=3), "num_heads is 3, but must be a divisor of the 16 channels"),
            (dict(num_heads=0), "num_heads is 0"),
            (dict(embed_layer=3), "embed_layer is 3"),
        ],
        ids=str,
    )
    def test_out_of_their_ranges(self, options, text):
        with pytest.raises(ConfigError, match=text) as caught:
            tiny(**options)
        assert "\n" not in str(caught.value)

    def test_a_classifier_of_less_than_nothing(self):
        with pytest.raises(ConfigError, match="num_classes is -1"):
            tiny().reset_classifier(-1)

    def test_mlp_width(self):
        assert tiny(mlp_ratio=3.5).blocks[0].mlp.fc1.weight.shape == [16, 56]
        assert tiny(mlp_dim=10).blocks[0].mlp.fc1.weight.shape == [16, 10]

    def test_qkv_bias_and_head_dim(self):
        model = tiny(qkv_bias=False, head_dim=3)
        assert model.blocks[0].attn.qkv.bias is None
        assert model.blocks[0].attn.qkv.weight.shape == [16, 18]

    def test_epsilon_reaches_every_norm(self):
        model = tiny(norm_eps=2e-4)
        norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.LayerNorm)]
        assert len(norms) == 5
        assert {layer._epsilon for layer in norms} == {2e-4}


@pytest.mark.parametrize(
    "options", [{}, {"layer_scale_init": 0.1, "representation_size": 6}, {"pool": "gap"}, {"qkv_bias": False}], ids=str
)
def test_every_parameter_receives_a_gradient(options):
    model = stir(tiny(**options))
    model.train()
    model(image()).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert np.isfinite(p.grad.numpy()).all(), name
        assert np.abs(p.grad.numpy()).max() > 0, name


class TestResetClassifier:
    def test_new_classes(self):
        model, x = stir(tiny()), image()
        features = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
        model.reset_classifier(9)
        assert model.num_classes == 9
        assert model(x).shape == [2, 9]
        np.testing.assert_array_equal(model.forward_head(model.forward_features(x), pre_logits=True).numpy(), features)
        assert "head.weight" in model.state_dict()
        assert model.head.weight.numpy().std() == pytest.approx(0.02, rel=0.25)

    def test_none(self):
        model, x = stir(tiny()), image()
        features = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
        model.reset_classifier(0)
        np.testing.assert_array_equal(model(x).numpy(), features)
        assert not any(name.startswith("head") for name in model.state_dict())

    def test_jax_heads_start_at_zero(self):
        model = tiny(init="jax", head_bias_init=-10.0)
        model.reset_classifier(4)
        assert (model.head.weight.numpy() == 0).all()
        np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, -10, np.float32))

    def test_after_a_representation_layer(self):
        model = tiny(representation_size=6)
        model.reset_classifier(3)
        assert model.head.weight.shape == [6, 3]


CUT = scipy.stats.truncnorm(-2, 2).std()  # 0.8796: the spread of a unit normal cut at two sigmas
UNIT = scipy.stats.norm()
FLAT = scipy.stats.uniform(-1, 2)


def expected(name: str, shape: list[int], scheme: str):
    """The distribution a fresh tensor is drawn from, or the constant it is, written down from the two schemes."""
    if "norm" in name or "gamma" in name:
        return 0.0 if name.endswith("bias") else 1.0
    if name == "cls_token":
        return scipy.stats.norm(0, 1e-6) if scheme == "timm" else 0.0
    if name == "pos_embed":
        return scipy.stats.norm(0, 0.02)
    if name.startswith("patch_embed.proj"):
        fan_in = 3 * 4 * 4
        if scheme == "timm":
            return scipy.stats.uniform(-1 / math.sqrt(fan_in), 2 / math.sqrt(fan_in))
        std = 1 / math.sqrt(fan_in) / CUT
        return scipy.stats.truncnorm(-2, 2, 0, std) if name.endswith("weight") else 0.0
    if name.endswith("bias"):
        return scipy.stats.norm(0, 1e-6) if scheme == "jax" and ".mlp." in name else 0.0
    if scheme == "timm":
        return scipy.stats.norm(0, 0.02)
    if name.startswith("head"):
        return 0.0
    parts = 3 if "qkv" in name else 1
    bound = math.sqrt(6 / (shape[0] + shape[1] / parts))
    return scipy.stats.uniform(-bound, 2 * bound)


@pytest.mark.parametrize("scheme", ["timm", "jax"])
def test_every_fresh_tensor_has_its_distribution(scheme):
    """Mean, spread, support and shape; on Paddle 2.6.2 `TruncatedNormal(std=.02)` would give .0176 here."""
    paddle.seed(20)
    model = VisionTransformer(
        img_size=32,
        patch_size=4,
        embed_dim=64,
        depth=2,
        num_heads=4,
        num_classes=100,
        representation_size=48,
        init=scheme,
    )
    drawn = 0
    for name, p in model.named_parameters():
        got, want = p.numpy().astype(np.float64).ravel(), expected(name, p.shape, scheme)
        if isinstance(want, float):
            np.testing.assert_array_equal(got, want, err_msg=name)
            continue
        drawn += 1
        n, std = got.size, want.std()
        fourth = float(want.stats(moments="k")) + 3
        assert abs(got.mean()) < 5 * std / math.sqrt(n), name
        assert abs(got.std() - std) < 5 * std * math.sqrt((fourth - 1) / (4 * n)), (
            f"{name}: {got.std():.3e}, not {std:.3e}"
        )
        low, high = want.support()
        assert got.min() >= low - 1e-7, name
        assert got.max() <= high + 1e-7, name
        assert scipy.stats.kstest(got, want.cdf).pvalue > 1e-6, name
        if n > 4000 and math.isinf(high):
            assert np.abs(got).max() > 3 * std, f"{name} is cut"
        if n > 1000 and not math.isinf(high):
            assert got.max() > 0.95 * high, name
    assert drawn == (14 if scheme == "timm" else 15)


def test_initial_values_follow_the_seed():
    first, second = tiny(), tiny()
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)
    weights = [block.attn.qkv.weight.numpy() for block in first.blocks]
    assert (weights[0] != weights[1]).mean() > 0.99


def test_blocks_start_as_near_identities_under_layer_scale():
    model = tiny(layer_scale_init=1e-6)
    assert all(isinstance(block, Block) for block in model.blocks)
    stages = model.forward_intermediates(image())
    np.testing.assert_allclose(stages["block_01"].numpy(), stages["pos_embed"].numpy(), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"pool": "gap", "representation_size": 6, "layer_scale_init": 0.5}], ids=str)
def test_a_saved_static_model_equals_eager(tmp_path, options):
    model = stir(tiny(**options))
    want = {n: model(image(n, 3, 8, 8)).numpy() for n in (1, 3)}
    spec = [paddle.static.InputSpec([None, 3, 8, 8], "float32", "image")]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(tmp_path / "vit"))
    loaded = paddle.jit.load(str(tmp_path / "vit"))
    loaded.eval()
    for n, logits in want.items():  # the batch axis is open
        np.testing.assert_allclose(loaded(image(n, 3, 8, 8)).numpy(), logits, rtol=1e-4, atol=1e-5)

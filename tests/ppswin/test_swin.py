"""Swin Transformer: counts, shapes, rules of sizes, arguments, what the published mistakes change."""

import math

import numpy as np
import paddle
import pytest

import ppswin
from ppcore.deploy import Predictor, export_model
from ppcore.errors import ConfigError
from ppcore.model import traits
from ppswin import SwinTransformer

TINY = dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=5)
# Parameters with 1,000 and with 21,841 classes, as the official code and timm count them.
COUNTS = {
    "swin_tiny_patch4_window7_224": (28_288_354, 44_315_083),
    "swin_small_patch4_window7_224": (49_606_258, 65_632_987),
    "swin_base_patch4_window7_224": (87_768_224, 109_130_249),
    "swin_base_patch4_window12_384": (87_903_584, 109_265_609),
    "swin_large_patch4_window7_224": (196_532_476, 228_565_093),
    "swin_large_patch4_window12_384": (196_735_516, 228_768_133),
}


def tiny(**changes) -> SwinTransformer:
    return SwinTransformer(**{**TINY, **changes})


def image(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape or (2, 3, 32, 32)).astype("float32"))


def stir(model):
    """Random values everywhere, so that no zero hides a mistake, as large as keeps every branch alive."""
    rng = np.random.default_rng(1)
    for name, p in model.named_parameters():
        z = rng.standard_normal(p.shape)
        if p.ndim == 1:
            z = z * 0.1 + ("norm" in name and name.endswith("weight"))
        elif "table" not in name:
            z = z / math.sqrt(z[0].size if p.ndim == 4 else len(z))
        p.set_value(z.astype("float32"))
    model.eval()
    return model


def count(model) -> int:
    return sum(math.prod(p.shape) for p in model.parameters())


class TestBuilders:
    @pytest.mark.parametrize("name", COUNTS)
    def test_parameter_counts_to_the_unit(self, name):
        with paddle.LazyGuard():
            model, large = getattr(ppswin, name)(), getattr(ppswin, f"{name}_22k")()
        assert (count(model), count(large)) == COUNTS[name]
        assert len(model.state_dict()) == (173 if "tiny" in name else 329)  # no mask, no index
        size, window = int(name.rpartition("_")[2]), int(name.partition("window")[2].split("_")[0])
        assert model.patch_embed.img_size == (size, size)
        assert model.blocks[0].window == (window, window)
        assert traits(model).num_classes == 1000
        assert traits(large).num_classes == 21841

    def test_all_are_public(self):
        builders = {name for name in ppswin.__all__ if name.startswith("swin_")}
        assert builders == {*COUNTS, *(f"{name}_22k" for name in COUNTS)}

    def test_24_channels_a_head(self):
        with paddle.LazyGuard():
            assert count(SwinTransformer(img_size=256, window_size=8, num_heads=(4, 8, 16, 32))) == 28_306_432

    def test_arguments_are_keywords_and_unknown_ones_are_refused(self):
        with pytest.raises(TypeError, match="window"):
            ppswin.swin_tiny_patch4_window7_224(window=7)
        with pytest.raises(TypeError):
            SwinTransformer(224)

    def test_which_blocks_are_shifted(self):
        with paddle.LazyGuard():
            models = ppswin.swin_tiny_patch4_window7_224(), ppswin.swin_base_patch4_window12_384()
        for model, shift, masks in zip(models, (3, 6), (5, 11), strict=True):
            assert [b.shift for b in model.layers[0].blocks] == [(0, 0), (shift, shift)]
            assert [b.shift for b in model.layers[3].blocks] == [(0, 0), (0, 0)]  # one window
            assert sum(b.mask is not None for b in model.blocks) == masks


class TestForward:
    def test_shapes_and_names(self):
        model, x = stir(tiny()), image()
        found = model.forward_intermediates(x)
        assert {name: tensor.shape[1:] for name, tensor in found.items()} == {
            "patch_embed": [8, 8, 12],
            "stage_0_block_00": [8, 8, 12],
            "stage_0_block_01": [8, 8, 12],
            "stage_0": [8, 8, 12],
            "merge_0": [4, 4, 24],
            "stage_1_block_00": [4, 4, 24],
            "stage_1_block_01": [4, 4, 24],
            "stage_1": [4, 4, 24],
            "norm": [4, 4, 24],
            "pre_logits": [24],
            "logits": [5],
        }
        features = model.forward_features(x)
        np.testing.assert_array_equal(features.numpy(), found["norm"].numpy())
        np.testing.assert_array_equal(
            model.forward_head(features, pre_logits=True).numpy(), found["pre_logits"].numpy()
        )
        np.testing.assert_array_equal(model.forward_head(features).numpy(), model(x).numpy())
        np.testing.assert_array_equal(model(x).numpy(), found["logits"].numpy())

    def test_batch_of_one_and_single_images_agree(self):
        model, x = stir(tiny()), image(3, 3, 32, 32)
        one = np.concatenate([model(x[i : i + 1]).numpy() for i in range(3)])
        np.testing.assert_allclose(model(x).numpy(), one, rtol=0, atol=1e-5 * np.abs(one).max())

    def test_a_shift_reaches_beyond_the_window(self):
        """A change of one pixel stays in its window in block 0, and leaves it in block 1."""
        model = stir(tiny())
        x, y = image(1, 3, 32, 32), image(1, 3, 32, 32)
        y[0, 0, 12, 12] += 1.0  # of the token (3, 3), which the shifted window shares with (4, 4)
        first, second = model.forward_intermediates(x), model.forward_intermediates(y)
        changed = [
            (first[name] != second[name]).any(axis=-1)[0].numpy() for name in ("stage_0_block_00", "stage_0_block_01")
        ]
        assert changed[0][:4, :4].all()
        assert changed[0].sum() == 16
        assert changed[1][4:6, 4:6].all()
        assert not changed[1][6:, 6:].any()

    def test_no_head(self):
        model = stir(tiny(num_classes=0))
        x = image()
        np.testing.assert_array_equal(model(x).numpy(), model.forward_intermediates(x)["pre_logits"].numpy())
        assert model(x).shape == [2, 24]
        model.reset_classifier(7)
        assert model(x).shape == [2, 7]

    def test_absolute_positions_are_added_behind_the_norm(self):
        plain, model, x = stir(tiny()), tiny(ape=True), image()
        model.set_state_dict({**plain.state_dict(), "absolute_pos_embed": paddle.full([1, 64, 12], 0.5)})
        model.eval()
        got, want = (m.forward_intermediates(x)["patch_embed"].numpy() for m in (model, plain))
        np.testing.assert_allclose(got, want + 0.5, rtol=1e-6)

    def test_every_parameter_is_trained_and_the_key_bias_is_not(self):
        model = stir(tiny(ape=True, drop_path_rate=0.0))
        model.train()
        model(image()).sum().backward()
        grads = {name: np.abs(p.grad.numpy()).max() for name, p in model.named_parameters()}
        assert min(grads.values()) > 0
        key = model.layers[0].blocks[1].attn.qkv.bias.grad.numpy()[12:24]
        assert np.abs(key).max() < 1e-4 * grads["layers.0.blocks.1.attn.qkv.bias"]

    def test_drop_path_is_off_in_evaluation_and_random_in_training(self):
        model, x = stir(tiny(drop_path_rate=0.5)), image()
        np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
        model.train()
        assert (model(x).numpy() != model(x).numpy()).any()


class TestAblations:
    """Rows of Table 4 are arguments."""

    @pytest.mark.parametrize("option", ["shifted", "relative_bias", "content_term"])
    def test_each_changes_what_is_computed(self, option):
        model, x = stir(tiny()), image()
        other = tiny(**{option: False})
        own = model.state_dict()
        other.set_state_dict({name: own[name] for name in other.state_dict()})
        other.eval()
        gap = np.abs(model(x).numpy() - other(x).numpy()).max()
        assert gap > 1e-3 * np.abs(model(x).numpy()).max()

    def test_without_shifting_there_is_no_mask(self):
        model = tiny(shifted=False)
        assert all(block.mask is None and block.shift == (0, 0) for block in model.blocks)

    def test_without_relative_bias_there_are_no_tables(self):
        assert not [name for name in tiny(relative_bias=False).state_dict() if "table" in name]


class TestSizes:
    def test_paddleclas_lost_the_rule_of_small_maps(self):
        """Since 2023 it shifts and masks a map of one window, as `detection` does: the same weights, other logits."""
        model, x = stir(tiny()), image()
        without = tiny(window_rule="detection")
        without.set_state_dict(model.state_dict())
        without.eval()
        assert [block.shift for block in model.layers[1].blocks] == [(0, 0), (0, 0)]
        assert [block.shift for block in without.layers[1].blocks] == [(0, 0), (2, 2)]
        gap = np.abs(model(x).numpy() - without(x).numpy()).max() / np.abs(model(x).numpy()).max()
        assert gap > 1e-3
        first, second = model.forward_intermediates(x), without.forward_intermediates(x)
        np.testing.assert_array_equal(first["stage_1_block_00"].numpy(), second["stage_1_block_00"].numpy())

    def test_the_rules_agree_on_larger_square_maps(self):
        model, x = stir(tiny(img_size=64)), image(1, 3, 64, 64)
        for rule in ("timm", "detection"):
            other = tiny(img_size=64, window_rule=rule)
            other.set_state_dict(model.state_dict())
            other.eval()
            np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())

    def test_a_small_map_has_a_small_window_and_table(self):
        model = tiny(img_size=16, window_size=7)
        assert [block.window for block in model.blocks] == [(4, 4)] * 2 + [(2, 2)] * 2
        assert [len(b.attn.relative_position_bias_table) for b in model.blocks] == [49, 49, 9, 9]

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            (dict(img_size=(44, 40)), "11x10 tokens is not whole windows of 4"),
            (dict(img_size=12, window_size=3), "3x3 tokens cannot be halved"),
            (dict(img_size=(16, 24)), "4x6 tokens is not whole windows of 4"),
        ],
    )
    def test_the_official_rule_refuses(self, changes, text):
        with pytest.raises(ConfigError, match=text):
            tiny(**changes)
        for rule in ("timm", "detection"):
            model = stir(tiny(**changes, window_rule=rule))
            height, width = model.patch_embed.img_size
            assert model(image(2, 3, height, width)).shape == [2, 5]

    def test_an_image_that_is_not_whole_patches(self):
        """Swin's detection code pads it at the bottom and right; the others refuse it."""
        for rule in ("official", "timm"):
            with pytest.raises(ConfigError, match="43x38 is not a whole number of 4x4 patches"):
                tiny(img_size=(43, 38), window_rule=rule)
        model = stir(tiny(img_size=(43, 38), window_rule="detection"))
        whole = tiny(img_size=(44, 40), window_rule="detection")
        whole.set_state_dict(model.state_dict())
        whole.eval()
        assert traits(model).img_size == (43, 38)
        x = image(2, 3, 43, 38)
        zeros = paddle.nn.functional.pad(x, [0, 2, 0, 1])
        want = whole(zeros).numpy()
        np.testing.assert_allclose(model(x).numpy(), want, rtol=0, atol=1e-6 * np.abs(want).max())

    def test_an_image_of_another_size(self):
        with pytest.raises(ConfigError, match="built for 32x32 images and got 32x64"):
            tiny()(image(1, 3, 32, 64))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(depths=(2,)), "num_heads is .*must be as many as the 1 stages"),
        (dict(depths=()), "depths is"),
        (dict(num_heads=(5, 4)), "num_heads is 5, but must be a divisor of the 12 channels"),
        (dict(window_size=0), "window_size is 0"),
        (dict(window_rule="mmlab"), "window_rule is 'mmlab'.*'official', 'timm' or 'detection'"),
        (dict(mlp_ratio=0), "mlp_ratio is 0"),
        (dict(mlp_ratio=0.01), "mlp_ratio is 0.01"),
        (dict(drop_path_rate=1.0), "drop_path_rate is 1.0"),
        (dict(qk_scale=-1), "qk_scale is -1"),
        (dict(ape=1), "ape is 1"),
        (dict(relative_bias=False, content_term=False), "content_term is False"),
    ],
    ids=str,
)
def test_arguments_out_of_range(changes, text):
    with pytest.raises(ConfigError, match=text):
        tiny(**changes)


class TestStart:
    def test_initial_values(self):
        paddle.seed(0)
        model = tiny(embed_dim=48)
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        edge = 1 / math.sqrt(48)
        for name in ("patch_embed.proj.weight", "patch_embed.proj.bias"):  # torch's, of fan-in 48
            assert 0.8 * edge < np.abs(state[name]).max() <= edge
        for name, value in state.items():
            if name.endswith("bias") and name != "patch_embed.proj.bias":
                assert (value == 0).all(), name
            elif "norm" in name:
                assert (value == 1).all(), name
            elif not name.startswith("patch_embed"):
                assert 0.0125 < value.std() < 0.0275, name

    def test_norms_are_torchs(self):
        assert {layer._epsilon for layer in tiny().sublayers() if isinstance(layer, paddle.nn.LayerNorm)} == {1e-5}


class TestExport:
    @pytest.mark.parametrize("changes", [{}, dict(img_size=(43, 38), window_rule="detection", ape=True)], ids=str)
    def test_exports_compute_the_same_for_any_batch(self, tmp_path, changes):
        pytest.importorskip("paddle2onnx")
        model = stir(tiny(**changes))
        folder = export_model(model, tmp_path / "export")
        height, width = model.patch_embed.img_size
        for engine in ("paddle", "onnxruntime", "openvino"):
            pytest.importorskip(engine)
            predictor = Predictor(folder, engine=engine)
            for batch in (1, 3):
                x = image(batch, 3, height, width)
                want = model(x).numpy()
                np.testing.assert_allclose(predictor(x.numpy()), want, rtol=0, atol=2e-5 * np.abs(want).max())

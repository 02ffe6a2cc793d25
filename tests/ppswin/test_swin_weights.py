"""Layouts of Swin's weights: official, timm, PaddleClas; what is dropped, what is refused, what is resized."""

import hashlib

import numpy as np
import paddle
import pytest

from ppcore import weights
from ppcore.errors import ConfigError, WeightsError
from ppcore.layers import interpolate_pos_embed
from ppcore.layers.relative_bias import relative_position_index, resize_bias_table
from ppcore.layers.token_windows import shift_mask
from ppcore.weights.conversion import CHANGES
from ppswin import SwinTransformer
from ppswin.imagenet_22k import MAP_22K_TO_1K

TINY = dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=5)
TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"


def build(**changes) -> SwinTransformer:
    model, rng = SwinTransformer(**{**TINY, **changes}), np.random.default_rng(3)
    for p in model.parameters():
        p.set_value(rng.standard_normal(p.shape).astype("float32"))
    model.eval()
    return model


def with_buffers(arrays: dict) -> dict:
    """An official file: what follows from the sizes is stored among the weights."""
    stored = dict(arrays)
    for name, table in arrays.items():
        if name.endswith("_table"):
            side = (round(len(table) ** 0.5) + 1) // 2
            stored[name.replace("bias_table", "index")] = relative_position_index((side, side))
    stored["layers.0.blocks.1.attn_mask"] = shift_mask((8, 8), (4, 4), (2, 2))
    return stored


def same(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


@pytest.mark.parametrize("layout", ["paddle", "swin", "timm", "paddleclas"])
def test_round_trip_is_bit_exact(layout):
    model = build()
    exported = weights.export(model, layout=layout)
    state = weights.convert(exported, source=layout, model=build(num_classes=5))
    same(state, {name: value.numpy() for name, value in model.state_dict().items()})


def test_names_and_storage():
    model = build()
    own = {name: value.numpy() for name, value in model.state_dict().items()}
    swin, timm, clas = (weights.export(model, layout=name) for name in ("swin", "timm", "paddleclas"))
    assert swin.keys() == clas.keys() == own.keys()
    assert timm.keys() - own.keys() == {
        "head.fc.weight",
        "head.fc.bias",
        *(f"layers.1.downsample.{part}" for part in ("norm.weight", "norm.bias", "reduction.weight")),
    }
    reduction = own["layers.0.downsample.reduction.weight"]
    np.testing.assert_array_equal(swin["layers.0.downsample.reduction.weight"], reduction.T)
    np.testing.assert_array_equal(timm["layers.1.downsample.reduction.weight"], reduction.T)
    np.testing.assert_array_equal(clas["layers.0.downsample.reduction.weight"], reduction)
    np.testing.assert_array_equal(timm["head.fc.weight"], own["head.weight"].T)
    for arrays in (swin, timm, clas):  # of two axes, but no linear layer's
        np.testing.assert_array_equal(arrays[TABLE], own[TABLE])


def test_the_buffers_of_an_official_file_are_left_out(tmp_path):
    model = build()
    file = tmp_path / "official.npz"
    np.savez(file, **with_buffers(weights.export(model, layout="swin")))
    other = SwinTransformer(**TINY)
    weights.load(other, file, "swin")
    x = paddle.randn([1, 3, 32, 32])
    other.eval()
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())


def test_and_nothing_else_is():
    exported = with_buffers(weights.export(build(), layout="swin"))
    for name in ("layers.0.blocks.1.attn.mask", "attn_mask", "layers.0.blocks.0.attn.relative_coords_table"):
        with pytest.raises(WeightsError, match=f"unexpected {name}"):
            weights.convert({**exported, name: np.zeros(3)}, source="swin", model=build())
    with pytest.raises(WeightsError, match=r"unexpected .*relative_position_index"):  # timm's files have none
        weights.convert(
            {**weights.export(build(), layout="timm"), TABLE.replace("bias_table", "index"): np.zeros((16, 16))},
            source="timm",
            model=build(),
        )


def test_positions_numbered_otherwise_are_refused():
    exported = with_buffers(weights.export(build(), layout="swin"))
    name = TABLE.replace("bias_table", "index")
    exported[name] = exported[name].T.copy()
    with pytest.raises(WeightsError, match="numbered in another way"):
        weights.convert(exported, source="swin", model=build())


@pytest.mark.parametrize("layout", ["swin", "timm", "paddleclas"])
def test_a_transposed_bias_table_is_refused(layout):
    exported = weights.export(build(), layout=layout)
    exported[TABLE] = exported[TABLE].T.copy()
    with pytest.raises(WeightsError, match=rf"misshapen {TABLE} \(2, 49\) where the model has \(49, 2\)"):
        weights.convert(exported, source=layout, model=build())


def test_a_table_of_other_heads_is_refused():
    exported = weights.export(build(), layout="swin")
    exported[TABLE] = np.zeros((9, 3), "float32")
    with pytest.raises(WeightsError, match=f"misshapen {TABLE}"):
        weights.convert(exported, source="swin", model=build())


@pytest.mark.parametrize(
    ("layout", "mode"), [("swin", "swin_bicubic"), ("timm", "timm_geometric"), ("paddleclas", "swin_bicubic")]
)
def test_tables_of_another_window_are_resized_in_their_codes_way(layout, mode):
    small, large = build(), build(img_size=64, window_size=8)
    arrays = weights.export(small, layout=layout)
    state = weights.convert(arrays, source=layout, model=large)
    for name, value in large.state_dict().items():
        if "table" not in name:
            np.testing.assert_array_equal(state[name], small.state_dict()[name].numpy())
            continue
        assert state[name].shape == tuple(value.shape) == (225, value.shape[1])
        want = resize_bias_table(small.state_dict()[name].numpy(), (4, 4), (8, 8), mode)
        np.testing.assert_array_equal(state[name], want)


def test_resizing_is_said(caplog):
    caplog.set_level("INFO")
    notes, large = [], build(img_size=64, window_size=8)
    weights.convert(weights.export(build(), layout="swin"), source="swin", model=large, notes=notes)
    assert notes == ["position bias: 4 tables of 4x4 windows resampled to 8x8 (swin_bicubic)"]
    assert notes[0].startswith(CHANGES)  # so that cards say it
    assert notes[0] in caplog.text
    weights.convert(weights.export(build(), layout="swin"), source="swin", model=build(), notes=notes)
    assert len(notes) == 1


@pytest.mark.parametrize("layout", ["paddle", "swin", "timm"])
@pytest.mark.parametrize("mode", [None, "swin_bicubic", "timm_geometric"])
def test_either_interpolation_can_be_chosen_for_any_layout(layout, mode):
    small, large = build(), build(img_size=64, window_size=8)
    arrays, notes = weights.export(small, layout=layout), []
    state = weights.convert(arrays, source=layout, model=large, pos_embed=mode, notes=notes)
    used = mode or ("timm_geometric" if layout == "timm" else "swin_bicubic")
    assert notes == [f"position bias: 4 tables of 4x4 windows resampled to 8x8 ({used})"]
    want = resize_bias_table(small.state_dict()[TABLE].numpy(), (4, 4), (8, 8), used)
    np.testing.assert_array_equal(state[TABLE], want)


@pytest.mark.parametrize("name", ["swin_bicubik", "deit_bicubic"])
def test_interpolations_of_other_families_are_none_of_ours(name):
    with pytest.raises(ConfigError, match=f"pos_embed is '{name}'.* must be one of swin_bicubic, timm_geometric"):
        weights.convert(weights.export(build(), layout="swin"), source="swin", model=build(), pos_embed=name)


def test_absolute_positions():
    model = build(ape=True)
    exported = weights.export(model, layout="swin")
    assert exported["absolute_pos_embed"].shape == (1, 64, 12)
    notes = []
    state = weights.convert(exported, source="swin", model=build(ape=True, img_size=64), notes=notes)
    want = interpolate_pos_embed(
        exported["absolute_pos_embed"], (8, 8), (16, 16), num_prefix_tokens=0, mode="deit_bicubic"
    )
    np.testing.assert_array_equal(state["absolute_pos_embed"], want)
    assert notes == ["position embedding: 8x8 grid resampled to 16x16 (deit_bicubic)"]
    with pytest.raises(WeightsError, match="timm layout has no place for absolute_pos_embed"):
        weights.export(model, layout="timm")


@pytest.mark.parametrize("layout", ["swin", "timm"])
def test_a_head_of_other_classes(layout):
    exported, model = weights.export(build(num_classes=9), layout=layout), build()
    with pytest.raises(WeightsError, match="new_head=True"):
        weights.convert(exported, source=layout, model=model)
    state = weights.convert(exported, source=layout, model=model, new_head=True)
    np.testing.assert_array_equal(state["head.weight"], model.head.weight.numpy())


class TestClassifierOfImageNet22k:
    """21,841 classes to the 1,000 of ImageNet-1k, as the official fine-tuning does."""

    @pytest.mark.parametrize("layout", ["swin", "timm", "paddle"])
    def test_rows_of_the_thousand(self, layout):
        large, model, notes = build(num_classes=21841), build(num_classes=1000), []
        exported = weights.export(large, layout=layout)
        state = weights.convert(exported, source=layout, model=model, new_head="map22kto1k", notes=notes)
        assert notes == ["head: the 1000 classes of ImageNet-1k taken from 21841 (map22kto1k)"]
        assert notes[0].startswith(CHANGES)
        bias, weight = large.head.bias.numpy(), large.head.weight.numpy()
        for ours, theirs in ((0, 359), (1, 368), (999, 21817)):
            assert state["head.bias"][ours] == bias[theirs]
            np.testing.assert_array_equal(state["head.weight"][:, ours], weight[:, theirs])

    def test_the_list(self):
        """The file's digest as the reference's golden has it: little-endian int32."""
        ids = np.array(MAP_22K_TO_1K, "<i4")
        assert hashlib.sha256(ids.tobytes()).hexdigest().startswith("2fef1bdd9309e9b80b02c0ff648a2186")
        assert len(set(ids)) == 1000

    def test_is_never_done_unasked(self):
        exported = weights.export(build(num_classes=21841), layout="swin")
        with pytest.raises(WeightsError, match=r"misshapen head\.weight"):
            weights.convert(exported, source="swin", model=build(num_classes=1000))

    @pytest.mark.parametrize(("had", "wanted"), [(9, 1000), (21841, 5)])
    def test_of_other_classes_is_refused(self, had, wanted):
        exported = weights.export(build(num_classes=had), layout="swin")
        with pytest.raises(WeightsError, match=f"the file has {had} and the model {wanted}: new_head=True"):
            weights.convert(exported, source="swin", model=build(num_classes=wanted), new_head="map22kto1k")

    @pytest.mark.parametrize("rule", ["map22kto1k", "zeros"])
    def test_one_that_fits_is_kept(self, rule):
        model, notes = build(), []
        exported = weights.export(model, layout="timm")
        state = weights.convert(exported, source="timm", model=build(), new_head=rule, notes=notes)
        np.testing.assert_array_equal(state["head.weight"], model.head.weight.numpy())
        assert notes == []

    def test_zeros(self):
        """What the official fine-tuning does for any other number of classes."""
        exported, notes = weights.export(build(num_classes=9), layout="swin"), []
        state = weights.convert(exported, source="swin", model=build(), new_head="zeros", notes=notes)
        assert state["head.weight"].shape == (24, 5)
        assert not state["head.weight"].any()
        assert not state["head.bias"].any()
        assert notes == ["head: 9 outputs in the file, 5 set to zero: it is to be trained"]

    def test_unknown_rule(self):
        exported = weights.export(build(), layout="swin")
        with pytest.raises(ConfigError, match=r"new_head is 'map22k'.*must be one of true or false, map22kto1k, zeros"):
            weights.convert(exported, source="swin", model=build(), new_head="map22k")


class TestTheLineForTimm:
    def said(self, **changes):
        arch = {"name": "ppswin.SwinTransformer", **TINY, **changes}
        model = build(**changes)
        return model.weight_maps()["timm"].snippet("a.safetensors", arch, model)

    def test_names_timms_class(self):
        text = self.said(drop_path_rate=0.2)
        assert text.startswith("from timm.models.swin_transformer import SwinTransformer\n")
        assert "drop_path_rate" not in text

    @pytest.mark.parametrize(
        "changes",
        [dict(window_rule="detection"), dict(img_size=(32, 64)), dict(shifted=False), dict(content_term=False)],
        ids=str,
    )
    def test_none_for_what_timm_computes_otherwise(self, changes):
        assert self.said(**changes) is None

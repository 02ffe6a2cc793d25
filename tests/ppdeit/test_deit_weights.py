"""Weight layouts of DeiT and DeiT III, both ways, against facts about the layouts."""

import numpy as np
import paddle
import pytest

import ppdeit
from ppcore import weights
from ppcore.errors import WeightsError
from ppcore.layers import interpolate_pos_embed

SIZE = dict(img_size=16, patch_size=4, num_classes=5, embed_dim=24, depth=2, num_heads=3)


def filled(builder, **options):
    """A tiny model with no parameter at a special value (zero biases would hide swaps)."""
    model = builder(**(SIZE | options))
    rng = np.random.default_rng(7)
    for parameter in model.parameters():
        parameter.set_value(rng.standard_normal(parameter.shape).astype(np.float32))
    model.eval()
    return model


def distilled(**options):
    return filled(ppdeit.DistilledVisionTransformer, **options)


def deit3(**options):
    return filled(ppdeit.DeiT3, **({"layer_scale_init": 0.1} | options))


def state(model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def same(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


@pytest.mark.parametrize(
    ("build", "layout"),
    [(distilled, name) for name in ("paddle", "timm", "deit", "paddleclas")]
    + [(deit3, name) for name in ("paddle", "timm", "deit")]
    + [(lambda: filled(ppdeit.DeiT), name) for name in ("paddle", "timm", "deit", "paddleclas")],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_round_trip_through_a_file_is_bit_exact(build, layout, suffix, tmp_path):
    model = build()
    weights.save(model, tmp_path / f"w{suffix}", layout)
    other = build()
    with paddle.no_grad():
        for p in other.parameters():
            p.set_value(paddle.zeros_like(p))
    weights.load(other, tmp_path / f"w{suffix}", None if layout == "paddle" else layout)
    same(state(other), state(model))


def test_timm_names_of_a_distilled_model():
    model = distilled()
    got, own = weights.export(model, layout="timm"), state(model)
    assert {"cls_token", "dist_token", "pos_embed", "head.weight", "head_dist.weight", "head_dist.bias"} <= got.keys()
    assert got["dist_token"].shape == (1, 1, 24)
    assert got["pos_embed"].shape == (1, 18, 24)  # class, distillation, 16 patches
    np.testing.assert_array_equal(got["head_dist.weight"], own["head_dist.weight"].T)
    np.testing.assert_array_equal(
        weights.export(model, layout="paddleclas")["head_dist.weight"], own["head_dist.weight"]
    )


def test_layer_scale_has_two_names():
    model = deit3()
    timm, official = weights.export(model, layout="timm"), weights.export(model, layout="deit")
    np.testing.assert_array_equal(timm["blocks.1.ls2.gamma"], official["blocks.1.gamma_2"])
    assert not any("ls1" in name for name in official)
    assert not any("gamma_" in name for name in timm)
    with pytest.raises(WeightsError, match=r"missing .*blocks\.0\.ls1\.gamma"):
        weights.convert(official, source="timm", model=model)


def test_an_official_file(tmp_path):
    """`{'model': …}` as the DeiT repository stores it; written by torch when it is there."""
    torch = pytest.importorskip("torch", reason="torch writes the file")
    model = distilled()
    arrays = {k: torch.from_numpy(v.copy()) for k, v in weights.export(model, layout="deit").items()}
    torch.save({"model": arrays, "epoch": 299}, tmp_path / "deit.pth")
    other = distilled()
    with paddle.no_grad():
        for p in other.parameters():
            p.set_value(paddle.zeros_like(p))
    weights.load(other, tmp_path / "deit.pth", "deit")
    same(state(other), state(model))


@pytest.mark.parametrize(("build", "prefix"), [(distilled, 2), (deit3, 0)])
def test_fine_tuning_size_resamples_the_patches_only(build, prefix):
    small, large = build(), build(img_size=24)
    got = weights.convert(weights.export(small, layout="deit"), source="deit", model=large)["pos_embed"]
    assert got.shape == (1, prefix + 36, 24)
    want = interpolate_pos_embed(small.pos_embed.numpy(), (4, 4), (6, 6), num_prefix_tokens=prefix, mode="deit_bicubic")
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(got[:, :prefix], small.pos_embed.numpy()[:, :prefix])


def test_a_plain_file_does_not_pass_for_a_distilled_one():
    plain = weights.export(filled(ppdeit.DeiT), layout="timm")
    with pytest.raises(WeightsError, match=r"missing dist_token.*head_dist"):
        weights.convert(plain, source="timm", model=distilled())


def test_new_classes_replace_both_heads():
    exported = weights.export(distilled(), layout="timm")
    model = distilled(num_classes=3)
    own = state(model)
    got = weights.convert(exported, source="timm", model=model, new_head=True)
    for name in ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias"):
        np.testing.assert_array_equal(got[name], own[name])


class TestPaddleClas:
    """Its own models, with our weights, compute what ours do."""

    @pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
    def test_logits(self, name):
        reason = "paddleclas is not installed (its wheel pins old numpy; see README)"
        paddleclas = pytest.importorskip("paddleclas", reason=reason, exc_type=ImportError)
        paddle.seed(0)
        ours = getattr(ppdeit, name)(num_classes=10)
        theirs = getattr(paddleclas, name.replace("deit", "DeiT"))(class_num=10)
        theirs.set_state_dict(weights.export(ours, layout="paddleclas"))
        ours.eval()
        theirs.eval()
        x = paddle.randn([2, 3, 224, 224])
        want = theirs(x).numpy()
        np.testing.assert_allclose(ours(x).numpy(), want, rtol=0, atol=2e-5 * np.abs(want).max())
        state_of_theirs = {k: v.numpy() for k, v in theirs.state_dict().items()}
        same(weights.convert(state_of_theirs, source="paddleclas", model=ours), state(ours))

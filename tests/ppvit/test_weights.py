"""Every layout both ways, against facts about the layout and not only against ourselves."""

import gzip
import logging
import os
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcore.weights as weights
from ppcore.errors import WeightsError
from ppcore.layers import patchify
from ppvit.hybrid import vit_small_r26_s32_224, vit_tiny_r_s16_p8_224
from ppvit.vit import VisionTransformer

SIZE = dict(img_size=16, patch_size=4, num_classes=5, embed_dim=24, depth=2, num_heads=3)
DATA = Path(os.environ.get("PP_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
LAYOUTS = ["paddle", "timm", "deit", "google", "big_vision", "paddleclas", "vit_pytorch"]


def build(**overrides) -> VisionTransformer:
    """A tiny ViT with no parameter at a special value (zero biases would hide swaps)."""
    model = VisionTransformer(**(SIZE | overrides))
    rng = np.random.default_rng(7)
    for parameter in model.parameters():
        parameter.set_value(rng.standard_normal(parameter.shape).astype(np.float32))
    model.eval()
    return model


def state(model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def same(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


# vit_pytorch has no qkv bias: see test_parameters_without_a_place.
@pytest.mark.parametrize(
    ("layout", "qkv_bias"),
    [(name, bias) for name in LAYOUTS for bias in (True, False) if (name, bias) != ("vit_pytorch", True)],
)
def test_round_trip_is_bit_exact(layout, qkv_bias):
    model = build(qkv_bias=qkv_bias)
    exported = weights.export(model, layout=layout)
    same(weights.convert(exported, source=layout, model=build(qkv_bias=qkv_bias)), state(model))
    other = build(qkv_bias=qkv_bias)
    other.set_state_dict({k: paddle.zeros_like(v) for k, v in other.state_dict().items()})
    other.set_state_dict(weights.convert(exported, source=layout, model=other))
    same(weights.export(other, layout=layout), exported)


@pytest.mark.parametrize("layout", ["timm", "google", "big_vision", "paddle"])
@pytest.mark.parametrize("builder", [vit_tiny_r_s16_p8_224, vit_small_r26_s32_224])
def test_hybrids_round_trip(layout, builder):
    model = builder(img_size=64, depth=1, num_classes=3)
    exported = weights.export(model, layout=layout)
    same(weights.convert(exported, source=layout, model=model), state(model))


def test_timm_layout():
    model, got = build(layer_scale_init=0.1), None
    got, own = weights.export(model, layout="timm"), state(model)
    assert got.keys() == own.keys()
    for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        name = f"blocks.1.{name}.weight"
        np.testing.assert_array_equal(got[name], own[name].T)
    np.testing.assert_array_equal(got["head.weight"], own["head.weight"].T)
    for name in ("patch_embed.proj.weight", "pos_embed", "norm.weight", "blocks.0.ls1.gamma"):
        np.testing.assert_array_equal(got[name], own[name])


def test_google_layout_computes_the_same_attention():
    """flax's own contraction over (D, heads, head_dim) kernels equals our fused projection."""
    model = build()
    arrays = weights.export(model, layout="google")
    block = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1"
    x = np.random.default_rng(0).standard_normal((1, 5, 24)).astype(np.float32)
    q, k, v = (
        np.einsum("bnd,dhk->bnhk", x, arrays[f"{block}/{part}/kernel"]) + arrays[f"{block}/{part}/bias"]
        for part in ("query", "key", "value")
    )
    scores = np.einsum("bnhk,bmhk->bhnm", q / np.sqrt(8), k)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    mixed = np.einsum("bhnm,bmhk->bnhk", scores, v)
    want = np.einsum("bnhk,hkd->bnd", mixed, arrays[f"{block}/out/kernel"]) + arrays[f"{block}/out/bias"]
    got = model.blocks[1].attn(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)
    kernel = arrays["embedding/kernel"]  # (row, column, channel, out)
    assert kernel.shape == (4, 4, 3, 24)
    np.testing.assert_array_equal(kernel[1, 2, 0], model.patch_embed.proj.weight.numpy()[:, 0, 1, 2])


def test_google_names():
    got = weights.export(build(representation_size=6), layout="google")
    per_block = 16
    assert len(got) == 2 * per_block + 10
    for name, shape in {
        "cls": (1, 1, 24),
        "Transformer/posembed_input/pos_embedding": (1, 17, 24),
        "Transformer/encoder_norm/scale": (24,),
        "Transformer/encoderblock_0/LayerNorm_2/bias": (24,),
        "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": (24, 96),
        "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/key/bias": (3, 8),
        "pre_logits/kernel": (24, 6),
        "head/kernel": (6, 5),
    }.items():
        assert got[name].shape == shape, name


def test_google_hybrid_names():
    got = weights.export(vit_small_r26_s32_224(img_size=64, depth=1), layout="google")
    backbone = {name: a.shape for name, a in got.items() if name.startswith(("conv_root", "gn_root", "block"))}
    # stem 3; a unit 3 convolutions + 6 norm arrays; the first of a stage 3 more for its projection
    assert len(backbone) == 3 + 4 * (2 * 9 + 3)
    assert backbone["conv_root/kernel"] == (7, 7, 3, 64)
    assert backbone["gn_root/scale"] == (1, 1, 1, 64)
    assert backbone["block1/unit1/conv_proj/kernel"] == (1, 1, 64, 256)
    assert backbone["block4/unit2/conv2/kernel"] == (3, 3, 512, 512)
    assert backbone["block4/unit2/gn3/bias"] == (1, 1, 1, 2048)
    assert backbone["block2/unit1/gn_proj/scale"] == (1, 1, 1, 512)
    stem = weights.export(vit_tiny_r_s16_p8_224(img_size=64, depth=1), layout="google")
    assert stem["conv_root/kernel"].shape == (7, 7, 3, 64)
    assert stem["embedding/kernel"].shape == (8, 8, 64, 192)


@pytest.mark.parametrize("prefix", ["params/", "opt/target/", "params/img/", ""])
def test_big_vision_prefixes(prefix):
    model = build()
    arrays = weights.export(model, layout="big_vision")
    renamed = {name.replace("params/", prefix, 1): array for name, array in arrays.items()}
    if prefix:
        renamed["opt/state/step"] = np.zeros(())  # the rest of such a file is not weights
    if prefix == "params/img/":
        renamed["params/txt/head/kernel"] = np.zeros((2, 2), np.float32)
    same(weights.convert(renamed, source="big_vision", model=model), state(model))


def test_big_vision_stacked_blocks():
    model = build()
    arrays = weights.export(model, layout="big_vision")
    first = "params/Transformer/encoderblock_0/"
    rest = [name.removeprefix(first) for name in arrays if name.startswith(first)]
    stacked = {name: array for name, array in arrays.items() if "encoderblock_" not in name}
    for name in rest:
        layers = [arrays[f"params/Transformer/encoderblock_{i}/{name}"] for i in range(2)]
        stacked[f"params/Transformer/encoderblock/{name}"] = np.stack(layers)
    assert len(rest) == 16
    same(weights.convert(stacked, source="big_vision", model=model), state(model))


def test_big_vision_position_embedding_without_class_row():
    model = build()
    arrays = weights.export(model, layout="big_vision")
    assert arrays["params/pos_embedding"].shape == (1, 17, 24)  # its class row is not zero
    grid = arrays["params/pos_embedding"][:, 1:]
    got = weights.convert(arrays | {"params/pos_embedding": grid}, source="big_vision", model=model)
    assert not got["pos_embed"][:, 0].any()
    np.testing.assert_array_equal(got["pos_embed"][:, 1:], grid)
    model.set_state_dict(got)
    assert weights.export(model, layout="big_vision")["params/pos_embedding"].shape == (1, 16, 24)
    # Adding before the concatenation is adding zero to the class token.
    tokens = paddle.randn([1, 16, 24])
    want = paddle.concat([model.cls_token, tokens + paddle.to_tensor(grid)], axis=1)
    np.testing.assert_array_equal(model.add_tokens(tokens).numpy(), want.numpy())
    for old in ("params/Transformer/pos_embedding", "params/Transformer/posembed_input/pos_embedding"):
        moved = {old if "pos_embedding" in name else name: array for name, array in arrays.items()}
        converted = weights.convert(moved, source="big_vision", model=model)
        np.testing.assert_array_equal(converted["pos_embed"], arrays["params/pos_embedding"])


def test_big_vision_map_head_is_refused():
    arrays = weights.export(build(), layout="big_vision")
    arrays["params/MAPHead_0/probe"] = np.zeros((1, 1, 24), np.float32)
    with pytest.raises(WeightsError, match="MAP head"):
        weights.convert(arrays, source="big_vision", model=build())


def test_vit_pytorch_patches_are_the_convolution():
    model = build(qkv_bias=False)
    arrays = weights.export(model, layout="vit_pytorch")
    x = paddle.randn([2, 3, 16, 16])
    flat = patchify(x, 4).numpy()  # [B, N, p1·p2·c], as einops "b c (h p1) (w p2) -> b (h w) (p1 p2 c)"
    want = flat @ arrays["to_patch_embedding.1.weight"].T + arrays["to_patch_embedding.1.bias"]
    np.testing.assert_allclose(model.patch_embed(x).numpy(), want, rtol=1e-4, atol=1e-4)
    assert arrays["mlp_head.1.weight"].shape == (5, 24)
    assert arrays["mlp_head.0.weight"].shape == (24,)


def test_paddleclas_is_our_names_and_paddles_layouts():
    model = build()
    same(weights.export(model, layout="paddleclas"), state(model))


@pytest.mark.parametrize(
    ("layout", "overrides", "name"),
    [
        ("google", dict(layer_scale_init=0.1), "blocks.1.ls2.gamma"),
        ("paddleclas", dict(layer_scale_init=0.1), "blocks.0.ls1.gamma"),
        ("paddleclas", dict(representation_size=4), "pre_logits.fc.weight"),
        ("vit_pytorch", {}, "blocks.0.attn.qkv.bias"),
    ],
)
def test_parameters_without_a_place(layout, overrides, name):
    with pytest.raises(WeightsError, match=f"no place for .*{name}"):
        weights.export(build(**overrides), layout=layout)


@pytest.mark.parametrize("layout", ["paddle", "timm", "google"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams", ".npz"])
def test_files(tmp_path, layout, suffix):
    model, other = build(), build()
    path = tmp_path / f"x{suffix}"
    weights.save(model, path, layout)
    other.set_state_dict({k: paddle.zeros_like(v) for k, v in other.state_dict().items()})
    weights.load(other, path, None if layout == "paddle" and suffix != ".npz" else layout)
    same(state(other), state(model))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_paddle_reads_our_pdparams(tmp_path):
    model = build()
    weights.save(model, tmp_path / "x.pdparams")
    loaded = paddle.load(str(tmp_path / "x.pdparams"))
    same({name: np.asarray(tensor) for name, tensor in loaded.items()}, state(model))


def test_all_misfits_are_listed_at_once(tmp_path):
    model = build()
    arrays = weights.export(model, layout="google")
    del arrays["cls"], arrays["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/key/kernel"]
    arrays["surplus/kernel"] = np.zeros(3, np.float32)
    arrays["embedding/bias"] = np.zeros(7, np.float32)
    arrays["embedding/kernel"] = np.zeros((4, 4, 3), np.float32)
    weights.save_arrays(tmp_path / "x.npz", arrays)
    with pytest.raises(WeightsError) as caught:
        weights.load(model, tmp_path / "x.npz", "google")
    message = str(caught.value)
    for part in (
        "x.npz", "missing", "cls_token", "blocks.0.attn.qkv.weight", "unexpected", "surplus/kernel",
        "MultiHeadDotProductAttention_1/query/kernel", "misshapen", "patch_embed.proj.bias (7,)",
        "patch_embed.proj.weight (4, 4, 3) where the model has (24, 3, 4, 4)",
    ):  # fmt: skip
        assert part in message, part
    assert "\n" not in message
    assert "new_head" not in message


def test_a_failed_load_changes_nothing(tmp_path):
    model = build()
    before = state(model)
    arrays = weights.export(build(num_classes=3), layout="timm")
    with pytest.raises(WeightsError):
        model.set_state_dict(weights.convert(arrays, source="timm", model=model))
    same(state(model), before)


def test_names_of_another_layout_do_not_pass_for_ours():
    # Everything square: read with the wrong source, each matrix would fit untransposed.
    square = dict(embed_dim=12, mlp_dim=12, num_classes=12, head_dim=4, qkv_bias=False)
    arrays = weights.export(build(**square), layout="timm")
    with pytest.raises(WeightsError, match="of another layout"):
        weights.convert(arrays, source="google", model=build(**square))


def test_foreign_files_need_a_source(tmp_path):
    model = build()
    weights.save(model, tmp_path / "x.npz", "google")
    with pytest.raises(WeightsError, match="source="):
        weights.load(model, tmp_path / "x.npz")
    weights.save(model, tmp_path / "t.safetensors", "timm")
    for source, word in ((None, "give source='timm'"), ("google", "its layout is timm")):
        with pytest.raises(WeightsError, match=word):
            weights.load(model, tmp_path / "t.safetensors", source)
    weights.load(model, tmp_path / "t.safetensors", "deit")  # the same layout by another name
    with pytest.raises(WeightsError, match="did you mean 'google'"):
        weights.load(model, tmp_path / "x.npz", "googel")


def test_new_head():
    pretrained, model = build(num_classes=9, representation_size=4), build(num_classes=5)
    arrays = weights.export(pretrained, layout="google")
    with pytest.raises(WeightsError, match="new_head=True"):
        weights.convert(arrays, source="google", model=model)
    got, fresh = weights.convert(arrays, source="google", model=model, new_head=True), state(model)
    for name in fresh:
        want = fresh if name.startswith("head.") else state(pretrained)
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    # A head that fits is used; anything else that is missing is still an error.
    fitting = weights.export(build(), layout="google")
    fitting["head/bias"] = fitting["head/bias"] + 1
    got = weights.convert(fitting, source="google", model=model, new_head=True)
    np.testing.assert_array_equal(got["head.bias"], fitting["head/bias"])
    del arrays["cls"]
    with pytest.raises(WeightsError, match="missing cls_token"):
        weights.convert(arrays, source="google", model=model, new_head=True)


@pytest.mark.parametrize(
    ("source", "mode"),
    [("timm", "timm_bicubic_antialias"), ("deit", "deit_bicubic"), ("google", "google_zoom_order1")],
)
def test_position_embeddings_follow_the_source(source, mode):
    from ppcore.layers import interpolate_pos_embed

    small, large = build(), build(img_size=(32, 24))
    arrays = weights.export(small, layout=source)
    for override in (None, "bilinear_half_pixel"):
        got = weights.convert(arrays, source=source, model=large, pos_embed=override)["pos_embed"]
        want = interpolate_pos_embed(small.pos_embed.numpy(), (4, 4), (8, 6), mode=override or mode)
        assert got.shape == (1, 49, 24)
        np.testing.assert_array_equal(got, want)


def test_google_weights_in_an_erf_model_are_logged_once(caplog):
    arrays = weights.export(build(), layout="google")
    with caplog.at_level(logging.WARNING, logger="ppcore.weights"):
        weights.convert(arrays, source="google", model=build())
        assert len(caplog.records) == 1
        assert "gelu_tanh" in caplog.text
        caplog.clear()
        weights.convert(arrays, source="google", model=build(act="gelu_tanh"))
        weights.convert(weights.export(build(), layout="timm"), source="timm", model=build())
        assert not caplog.records


def test_half_precision_models_are_exported_and_loaded():
    model = build().to(dtype="bfloat16")
    arrays = weights.export(model, layout="timm")
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert np.abs(arrays["norm.weight"]).max() < 10  # numbers, not raw bits


def test_half_precision_files_into_a_half_precision_model(tmp_path):
    model = build()
    weights.save(model, tmp_path / "x.safetensors")
    half = build().to(dtype="bfloat16")
    weights.load(half, tmp_path / "x.safetensors")
    assert half.norm.weight.dtype == paddle.bfloat16


def mnist() -> tuple[np.ndarray, np.ndarray]:
    folder = DATA / "classification"
    images, labels = (next(folder.glob(f"mnist_t10k-{kind}*")) for kind in ("images", "labels"))
    pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    x = (pixels.astype(np.float32) / 255 - 0.1307) / 0.3081
    return x, np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)


@pytest.mark.parametrize(
    # 965 is our own count, a quick part of the published sum
    ("count", "expected"),
    [(1000, 965), pytest.param(10_000, 9721, marks=pytest.mark.slow)],
)
def test_a_vit_somebody_else_trained(count, expected):
    """Its author reports 0.9721 top-1 on MNIST's 10,000 test images."""
    path = DATA / "weights" / "vit_mnist_researchase.pt"
    if not path.is_file():
        pytest.skip(f"no {path}: set PP_DATA_DIR to the folder of real data")
    model = VisionTransformer(
        img_size=28, patch_size=4, in_chans=1, num_classes=10, embed_dim=64, depth=6, num_heads=4,
        head_dim=64, mlp_dim=128, act="relu", qkv_bias=False, norm_eps=1e-5,
    )  # fmt: skip
    weights.load(model, path, "vit_pytorch")
    model.eval()
    same(weights.export(model, layout="vit_pytorch"), weights.read(path))
    x, y = mnist()
    with paddle.no_grad():
        right = sum(
            int((model(paddle.to_tensor(x[i : i + 200])).numpy().argmax(1) == y[i : i + 200]).sum())
            for i in range(0, count, 200)
        )
    assert right == expected

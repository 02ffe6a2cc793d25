"""ViT against numbers of the reference implementations (timm 1.0.31, Google's .npz layout)."""

import json

import comparing
import filling
import numpy as np
import paddle
import pytest

import ppcore.weights
import ppvit
from ppcore.layers import interpolate_pos_embed
from ppvit import hybrid
from ppvit.vit import VisionTransformer

# From 86M parameters on: ten seconds each, above 300M minutes and gigabytes.
HEAVY = "large|huge|base"
TOKENS, HYBRID = 2e-5, 1e-4  # of the largest value
# The references' own float32 gradients of these backbones differ from float64 by up to 3e-3.
LOOSE_BACKBONES = {"vit_small_r26_s32_224": 2e-2, "vit_base_r50_s16_224": 2e-2}


@pytest.mark.parametrize("path", filling.files(r"cls_vit_\w+", slow=HEAVY))
def test_classifier(path):
    name = json.loads(path.read_text())["model"]
    builder = getattr(ppvit, name)
    is_hybrid = hasattr(builder, "__module__") and builder.__module__ == hybrid.__name__
    comparing.classifier(path, builder, HYBRID if is_hybrid else TOKENS, LOOSE_BACKBONES.get(name))


@pytest.fixture
def tiny():
    def build(manifest: dict, **overrides) -> VisionTransformer:
        return VisionTransformer(**(comparing.tiny_config(manifest) | overrides))

    return build


@pytest.mark.parametrize("path", filling.files("tiny_vit"))
def test_tiny_vit_every_tensor(path, tiny):
    comparing.every_tensor(path, tiny)


@pytest.mark.parametrize("path", filling.files("posembed"))
def test_position_embedding_interpolation(path):
    _, arrays = filling.load(path)
    compared = 0
    for name in arrays:
        case, _, mode = name.partition("/")
        if not mode or mode.endswith("_f64"):
            continue
        prefix, grids = case.removeprefix("prefix").split("_")
        old, new = grids.split("to")
        new_grid = tuple(int(n) for n in new.split("x"))
        got = interpolate_pos_embed(
            arrays[f"pe_prefix{prefix}"], (int(old),) * 2, new_grid, num_prefix_tokens=int(prefix), mode=mode
        )
        np.testing.assert_allclose(got, arrays[name], rtol=0, atol=5e-6, err_msg=name)
        compared += 1
    assert compared >= 30


@pytest.mark.parametrize("path", filling.files("vit_jax_tiny"))
def test_google_checkpoint_is_read_exactly_and_written_back(path, tiny, tmp_path):
    manifest, _ = filling.load(path)
    file = path.with_suffix(".npz")
    model = tiny(manifest)
    ppcore.weights.load(model, file, "google")
    _, expected = filling.load(path.with_name(path.name.replace("tiny", "tiny_state")))
    state = ppcore.weights.export(model, layout="timm")
    wanted = {k.removeprefix("state/"): expected[k] for k in expected if k.startswith("state/")}
    assert state.keys() == wanted.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)

    ppcore.weights.save(model, tmp_path / "again.npz", "google")
    original, again = np.load(file), np.load(tmp_path / "again.npz")
    assert set(original.files) == set(again.files)
    for name in original.files:
        assert original[name].dtype == again[name].dtype
        np.testing.assert_array_equal(original[name], again[name], err_msg=name)


@pytest.mark.parametrize("path", filling.files("vit_jax_tiny_state"))
@pytest.mark.parametrize(("act", "array"), [("gelu", "logits"), ("gelu_tanh", "logits_tanh_gelu")])
def test_google_checkpoint_logits(path, act, array, tiny):
    manifest, arrays = filling.load(path)
    model = tiny(manifest, act=act)
    ppcore.weights.load(model, path.with_name(path.name.replace("_state", "")).with_suffix(".npz"), "google")
    model.eval()
    logits = model(paddle.to_tensor(filling.images(filling.seed_of(path), (2, 3, 32, 32))))
    assert filling.gap(logits.numpy(), arrays[array]) < 1e-5


@pytest.mark.parametrize("path", filling.files("vit_jax_tiny_state"))
def test_google_checkpoint_in_a_larger_model(path, tiny):
    manifest, arrays = filling.load(path)
    model = tiny(manifest, img_size=48)
    file = path.with_name(path.name.replace("_state", "")).with_suffix(".npz")
    ppcore.weights.load(model, file, "google", pos_embed="timm_npz_loader")
    model.eval()
    np.testing.assert_allclose(model.pos_embed.numpy(), arrays["img48/pos_embed"], rtol=0, atol=5e-6)
    logits = model(paddle.to_tensor(filling.images(filling.seed_of(path) + 1, (2, 3, 48, 48))))
    assert filling.gap(logits.numpy(), arrays["img48/logits"]) < 1e-5

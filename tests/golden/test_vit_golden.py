"""ViT against numbers of the reference implementations (timm 1.0.31, Google's .npz layout)."""

import gc

import filling
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import ppcore.weights
from ppcore.layers import interpolate_pos_embed
from ppvit import hybrid, vit
from ppvit.vit import VisionTransformer

# Above 300M parameters: minutes and gigabytes each.
HEAVY = "large|huge"
TOKENS, HYBRID = 2e-5, 1e-4  # of the largest value
GRAD_NORM = 1e-4  # relative
# The references' own float32 gradients of these backbones differ from float64 by up to 3e-3.
LOOSE_BACKBONES = {"vit_small_r26_s32_224": 2e-2, "vit_base_r50_s16_224": 2e-2}

# Entries of a tiny model's manifest that are constructor arguments; the others describe.
CONFIG = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "num_classes", "mlp_ratio", "qkv_bias")


def filled(model: VisionTransformer, manifest: dict) -> VisionTransformer:
    state = ppcore.weights.convert(filling.weights(manifest), source="timm", model=model)
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    model.eval()
    return model


def gradients(model: VisionTransformer) -> dict[str, np.ndarray]:
    """Parameter gradients under timm's names, in torch's layouts."""
    ours = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return model.weight_maps()["timm"].from_paddle(ours, model)


@pytest.mark.parametrize("path", filling.files(r"cls_vit_\w+", slow=HEAVY))
def test_classifier(path):
    manifest, arrays = filling.load(path)
    name = manifest["model"]
    builder = getattr(vit, name, None) or getattr(hybrid, name)
    model = filled(builder(), manifest)
    assert sum(p.size for p in model.parameters()) == manifest["params"]

    size, batch = manifest["img_size"], arrays["logits"].shape[0]
    x = filling.images(filling.seed_of(path), (batch, 3, size, size), manifest)
    has_gradients = "grad_norms" in arrays
    with paddle.set_grad_enabled(has_gradients):
        stages = model.forward_intermediates(paddle.to_tensor(x))
    values = {k: v.detach().numpy() for k, v in stages.items()}
    blocks = [values[k] for k in sorted(values) if k.startswith("block_")]
    embedded, normed = values["patch_embed"], values["norm"]
    tolerance = HYBRID if hasattr(model.patch_embed, "backbone") else TOKENS

    gaps = filling.Gaps()
    gaps.add("logits", filling.gap(values["logits"], arrays["logits"]), tolerance)
    cls_tokens = np.stack([tokens[:, 0] for tokens in blocks])
    gaps.add("cls_tokens", filling.gap(cls_tokens, arrays["cls_tokens"]), tolerance)
    gaps.add("final_norm_cls", filling.gap(normed[:, 0], arrays["final_norm_cls"]), tolerance)
    lengths = np.linalg.norm(normed.astype(np.float64), axis=-1)
    gaps.add("token l2", filling.gap(lengths, arrays["final_norm_token_l2"]), tolerance)
    first = embedded.reshape(batch, -1)[:, :64]
    gaps.add("patch_embed_first", filling.gap(first, arrays["patch_embed_first"]), tolerance)
    wide = embedded.astype(np.float64)
    stats = [wide.mean(), wide.std(), np.abs(wide).max()]
    gaps.add("patch_embed_stats", filling.gap(stats, arrays["patch_embed_stats"]), tolerance)
    assert has_gradients == ("grad_keys" in manifest)

    if has_gradients:
        loss = F.cross_entropy(stages["logits"], paddle.to_tensor(manifest["labels"]))
        if "ce_loss" in arrays:
            gaps.add("loss", filling.relative([float(loss)], arrays["ce_loss"]), 1e-5)
        loss.backward()
        norms = {n: float(np.linalg.norm(p.grad.numpy().astype(np.float64))) for n, p in model.named_parameters()}
        loose = LOOSE_BACKBONES.get(name, GRAD_NORM)
        for key, want in zip(manifest["grad_keys"], arrays["grad_norms"], strict=True):
            bound = loose if ".backbone." in key else GRAD_NORM
            gaps.add(f"gradient of {key}", abs(norms[key] - want) / want, bound)
    # The next model may be as large: let this one go first.
    del model, stages, values
    gc.collect()
    gaps.check()


@pytest.fixture
def tiny():
    def build(manifest: dict, **overrides) -> VisionTransformer:
        config = {name: manifest["config"][name] for name in CONFIG}
        return VisionTransformer(**(config | overrides))

    return build


@pytest.mark.parametrize("path", filling.files("tiny_vit"))
def test_tiny_vit_every_tensor(path, tiny):
    manifest, arrays = filling.load(path)
    model = filled(tiny(manifest), manifest)
    branches: dict[str, np.ndarray] = {}
    for i, block in enumerate(model.blocks):
        for name, module in (("attn_out", block.attn), ("mlp_out", block.mlp)):
            module.register_forward_post_hook(
                lambda layer, inputs, out, key=f"{name}{i}": branches.update({key: out.detach().numpy()})
            )
    x = paddle.to_tensor(arrays["x"], stop_gradient=False)
    stages = model.forward_intermediates(x)
    loss = F.cross_entropy(stages["logits"], paddle.to_tensor(manifest["labels"]))
    loss.backward()

    got = branches | {
        "patch_embed": stages["patch_embed"],
        "tokens_in": stages["pos_embed"],
        "norm": stages["norm"],
        "logits": stages["logits"],
        "ce_loss": loss,
        "attn0": model.attention_maps(x)[0],
    }
    got |= {f"block{i}": stages[f"block_{i:02d}"] for i in range(len(model.blocks))}
    gaps, seen = filling.Gaps(), {"x", "grad_x"}
    for name, value in got.items():
        seen.add(name)
        want = arrays[name]
        gaps.add(name, filling.gap(np.asarray(value).reshape(want.shape), want), 1e-5)
    gaps.add("grad_x", filling.gap(x.grad.numpy(), arrays["grad_x"]), 2e-5)
    for key, grad in gradients(model).items():
        name = f"grad/{key}"
        seen.add(name)
        want = arrays[name]
        if key.endswith("qkv.bias"):
            # Adding a constant to every key shifts all scores of a query alike: that gradient is
            # zero in exact arithmetic, and what is left of it here is rounding.
            third = len(want) // 3
            grad, want = np.delete(grad, np.s_[third : 2 * third]), np.delete(want, np.s_[third : 2 * third])
        gaps.add(name, filling.gap(grad, want), 2e-5)
    assert {name for name in arrays if not name.endswith("_f64")} == seen, "an array was not compared"
    gaps.check()


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

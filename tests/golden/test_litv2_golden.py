"""HiLo and LITv2 against numbers of the authors' code (ziplab/LITv2 7501c86)."""

import filling
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import ppcore.weights
import pplit
from pplit.token_merging import TokenMerging, sampled

# Paddle 3 says so of every batch norm in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance")

HILO, MERGING = 1e-5, 1e-5
LOGITS, SAMPLES = 2e-5, 1e-4  # of LITv2-S
# Tiny models: outputs and gradients of the largest value, norms of gradients relative.
EVAL = dict(output=5e-5, gradient=2e-4, norm=2e-4)
TRAIN = dict(output=2e-4, gradient=2e-4, norm=3e-4, statistic=1e-4)
TINY_CONFIG = ("img_size", "patch_size", "embed_dim", "depths", "num_heads", "num_classes", "mlp_ratio", "qkv_bias")


def filled(layer, manifest: dict):
    """The layer with the manifest's weights, and those weights."""
    state = filling.weights(manifest)
    arrays = ppcore.weights.convert(state, source="litv2", model=layer)
    layer.set_state_dict({name: paddle.to_tensor(array) for name, array in arrays.items()})
    layer.eval()
    return layer, state


def draws(path, *shapes) -> list[np.ndarray]:
    """What a case draws for its input and for what its gradients are of."""
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def sample(array: np.ndarray) -> np.ndarray:
    """Every ceil(size / 16)-th entry of each axis."""
    return array[tuple(slice(None, None, -(-size // 16)) for size in array.shape)]


def gradients(layer) -> dict[str, np.ndarray]:
    """Gradients under the authors' names and in their layouts, which it clears."""
    ours = {name: p.grad.numpy() for name, p in layer.named_parameters() if p.trainable}
    found = layer.weight_maps()["litv2"].from_paddle(ours, layer)
    layer.clear_gradients()
    return found


def without_keys(name: str, array: np.ndarray) -> np.ndarray:
    """A constant added to every key shifts a query's scores alike: that gradient is rounding."""
    if name.endswith("l_kv.bias"):
        return array[len(array) // 2 :]
    if name.endswith("h_qkv.bias"):
        return np.delete(array, np.s_[len(array) // 3 : 2 * len(array) // 3])
    return array


def add_gradients(gaps, case: str, grads: dict, arrays: dict, bound: float, skip: str = "(none)") -> set[str]:
    seen = set()
    for name, grad in grads.items():
        key = f"{case}/grad/{name}"
        if key in arrays:
            seen.add(key)
            if skip not in name:
                gaps.add(key, filling.gap(without_keys(name, grad), without_keys(name, arrays[key])), bound)
    return seen


def unseen(arrays: dict, prefix: str, seen: set[str]) -> set[str]:
    return {name for name in arrays if name.startswith(prefix) and not name.endswith("_f64")} - seen


@pytest.mark.parametrize("path", filling.files("hilo"))
def test_hilo(path):
    manifest, arrays = filling.load(path)
    gaps, seen = filling.Gaps(), set()
    for case, about in manifest["cases"].items():
        config = dict(about["config"])
        layer, _ = filled(pplit.HiLo(config.pop("dim"), config.pop("num_heads"), **config), about)
        batch, height, width = about["shape"]
        assert about.get("params") in (sum(p.size for p in layer.parameters()), None)
        assert (about.get("h_heads"), about.get("l_heads")) in ((layer.h_heads, layer.l_heads), (None, None))
        assert about.get("flops") in (layer.flops(height, width), None)
        x, g = (paddle.to_tensor(a) for a in draws(path, *[(batch, height * width, layer.dim)] * 2))
        x.stop_gradient = False
        out = layer(x, height, width)
        (out * g).sum().backward()
        grads = gradients(layer)
        got = {"out": out.numpy(), "grad_x": x.grad.numpy(), "out_sample": sample(out.numpy())}
        maps = layer.attention_maps(x.detach().reshape([batch, height, width, layer.dim]))
        got |= {name: a.numpy() for name, a in zip(("h_attn", "l_attn"), maps, strict=True) if a is not None}
        for name, value in got.items():
            if (key := f"{case}/{name}") in arrays:
                seen.add(key)
                gaps.add(key, filling.gap(value, arrays[key]), HILO)
        seen |= add_gradients(gaps, case, grads, arrays, HILO)
        if (key := f"{case}/grad_norms") in arrays:
            seen.add(key)
            norms = [np.linalg.norm(grads[name].astype(np.float64)) for name, _, _ in about["weights"]["keys"]]
            gaps.add(key, filling.relative(norms, arrays[key]), HILO)
    assert len(manifest["cases"]) >= 15
    assert not unseen(arrays, "", seen), "an array was not compared"
    gaps.check()


def rescaled(want: np.ndarray, before: np.ndarray, count: int) -> np.ndarray:
    """A running variance of torch's after one step as Paddle on a CPU has it: of the batch, biased."""
    kept = np.float32(0.9) * before
    return kept + (want - kept) * (count - 1) / count


@pytest.mark.parametrize("path", filling.files("tiny_lit"))
def test_one_token_merging(path):
    manifest, arrays = filling.load(path)
    about = manifest["cases"]["dtm"]
    batch, height, width, dim = about["shape"]
    layer = TokenMerging(dim)
    state = filling.weights(about)
    raw = {name.replace("norm_layer.running_mean", "norm._mean"): a for name, a in state.items()}
    raw = {name.replace("norm_layer.running_var", "norm._variance"): a for name, a in raw.items()}
    layer.set_state_dict({name.replace("norm_layer", "norm"): paddle.to_tensor(a) for name, a in raw.items()})
    tokens, g = draws(path, (batch, height * width, dim), (batch, height * width // 4, 2 * dim))
    gaps, seen = filling.Gaps(), set()
    for mode in ("eval", "train"):
        layer.train() if mode == "train" else layer.eval()
        x = paddle.to_tensor(tokens.reshape(batch, height, width, dim), stop_gradient=False)
        out = layer(x).reshape([batch, -1, 2 * dim])
        (out * paddle.to_tensor(g)).sum().backward()
        got = {"out": out.numpy(), "grad_x": x.grad.numpy().reshape(tokens.shape)}
        if mode == "eval":
            image = x.detach().transpose([0, 3, 1, 2])
            offset = layer.dconv.conv_offset(image)
            taps = sampled(x.detach(), offset.transpose([0, 2, 3, 1])).numpy()
            columns = taps.reshape(batch, height // 2, width // 2, 4, dim).transpose(0, 4, 3, 1, 2)
            got |= {"offset": offset.numpy(), "columns": columns, "conv": layer.dconv(image).numpy()}
        else:
            got["running_mean"] = layer.norm._mean.numpy()
        for name, value in got.items():
            key = f"dtm/{mode}/{name}"
            seen.add(key)
            gaps.add(key, filling.gap(value, arrays[key]), MERGING)
        if mode == "train":
            seen.add("dtm/train/running_var")
            want = rescaled(
                arrays["dtm/train/running_var"], state["norm_layer.running_var"], batch * height * width // 4
            )
            gaps.add("running_var", filling.gap(layer.norm._variance.numpy(), want), MERGING)
        grads = {n: p.grad.numpy() for n, p in layer.named_parameters() if p.trainable}
        layer.clear_gradients()
        for name, grad in grads.items():
            key = f"dtm/{mode}/grad/{name.replace('norm.', 'norm_layer.')}"
            seen.add(key)
            if not (mode == "train" and name == "dconv.bias"):  # zero: the batch norm takes it away
                gaps.add(key, filling.gap(grad, arrays[key]), MERGING)
    assert not unseen(arrays, "dtm/", seen), "an array was not compared"
    gaps.check()


@pytest.mark.parametrize("case", ["a0.5", "a0.9", "a1", "w4_128"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("path", filling.files("tiny_lit"))
def test_tiny_model(path, mode, case):
    manifest, arrays = filling.load(path)
    about = manifest["cases"][case]
    config, bounds = about["config"], EVAL if mode == "eval" else TRAIN
    chosen = {name: config[name] for name in (*TINY_CONFIG, "alpha", "local_ws")}
    model, state = filled(pplit.LITv2(**chosen), about)
    assert sum(p.size for p in model.parameters() if p.trainable) == about["params"]
    assert model.flops() == about["flops"]
    if mode == "train":
        model.train()
    (image,) = draws(path, (2, 3, config["img_size"], config["img_size"]))
    x = paddle.to_tensor(image, stop_gradient=False)
    stages = model.forward_intermediates(x)
    loss = F.cross_entropy(stages["logits"], paddle.to_tensor(about["labels"]))
    loss.backward()
    grads = gradients(model)
    got = {f"stage{i}": stages[f"stage_{i}"] for i in range(4)} | {f"dtm{i}": stages[f"merging_{i}"] for i in (1, 2, 3)}
    got |= {name: stages[name] for name in ("patch_embed", "norm", "logits")} | {"pooled": stages["pre_logits"]}
    got = {name: a.numpy() for name, a in got.items()}
    got = {name: a.reshape(len(a), -1, a.shape[-1]) if a.ndim == 4 else a for name, a in got.items()}
    got["ce_loss"] = np.asarray([float(loss)])
    gaps, seen = filling.Gaps(), set()
    for name, value in got.items():
        if (key := f"{case}/{mode}/{name}") in arrays:
            seen.add(key)
            value = sample(value) if case == "w4_128" and value.ndim == 3 else value
            gaps.add(key, filling.gap(value, arrays[key]), bounds["output"])
    if (key := f"{case}/{mode}/grad_x") in arrays:
        seen.add(key)
        gaps.add(key, filling.gap(x.grad.numpy(), arrays[key]), bounds["gradient"])
    zero = "dconv.bias" if mode == "train" else "(none)"
    seen |= add_gradients(gaps, f"{case}/{mode}", grads, arrays, bounds["gradient"], zero)
    seen.add(key := f"{case}/{mode}/grad_norms")
    for name, want in zip(about["grad_keys"], arrays[key], strict=True):
        if zero not in name:
            gaps.add(
                f"norm of {name}", abs(np.linalg.norm(grads[name].astype(np.float64)) - want) / want, bounds["norm"]
            )
    running = ppcore.weights.export(model, layout="litv2")
    for key in (name for name in arrays if name.startswith(f"{case}/{mode}/buffer/")):
        seen.add(key)
        name, want, side = key.rpartition("/buffer/")[2], arrays[key], config["img_size"] // 4
        if name.endswith("running_var"):
            stage = int(name.split(".")[1])
            want = rescaled(want, state[name], 2 * (side >> stage + 1) ** 2)
        gaps.add(key, filling.gap(running[name], want), bounds["statistic"])
    assert not unseen(arrays, f"{case}/{mode}/", seen), "an array was not compared"
    gaps.check()


@pytest.mark.parametrize("path", filling.files("cls_litv2_small"))
def test_published_size(path):
    manifest, arrays = filling.load(path)
    model, _ = filled(pplit.litv2_small(), manifest)
    assert sum(p.size for p in model.parameters() if p.trainable) == manifest["params"]
    assert model.flops() == manifest["flops_official"]
    x = filling.images(filling.seed_of(path), (1, 3, 224, 224), manifest)
    with paddle.no_grad():
        stages = {name: a.numpy() for name, a in model.forward_intermediates(paddle.to_tensor(x)).items()}
    got = {f"stage{i}_sample": stages[f"stage_{i}"] for i in range(4)}
    got |= {f"dtm{i}_sample": stages[f"merging_{i}"] for i in (1, 2, 3)}
    got |= {f"{name}_sample": stages[name] for name in ("patch_embed", "norm")}
    got |= {"logits": stages["logits"], "pooled": stages["pre_logits"]}
    gaps = filling.Gaps()
    for name, value in got.items():
        value = sample(value) if name.endswith("_sample") else value
        gaps.add(name, filling.gap(value, arrays[name]), LOGITS if name == "logits" else SAMPLES)
    assert not unseen(arrays, "", set(got)), "an array was not compared"
    gaps.check()

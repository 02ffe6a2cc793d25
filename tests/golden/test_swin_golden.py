"""Swin Transformer against numbers of the official code, timm 1.0.31 and Swin's detection backbone."""

import json
from functools import partial

import filling
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import ppswin
from ppcore import optim, weights
from ppcore.config.durations import Duration, Plan
from ppcore.data import smooth_one_hot
from ppcore.layers import interpolate_pos_embed
from ppcore.layers.relative_bias import geometric_places, relative_position_index, resize_bias_table
from ppcore.losses import CrossEntropy
from ppcore.schedules import CosineAfterUpdate
from ppswin import SwinTransformer
from ppswin.imagenet_22k import MAP_22K_TO_1K

FORWARD, GRADIENTS, GRAD_NORM = 1e-5, 2e-5, 1e-5  # of the largest value; the last relative
HEAVY = "base|small"
# A case is compared with the classification code's numbers unless it says otherwise.
CASES = ("main", "odd", "clamp", "rect", "options")


def filled(model: SwinTransformer, case: dict) -> SwinTransformer:
    """The model with the case's weights, in evaluation mode."""
    source = {"timm": "timm", "official": "swin"}[case.get("layout", "timm")]
    model.set_state_dict(weights.convert(filling.weights(case), source=source, model=model))
    model.eval()
    assert sum(p.size for p in model.parameters()) == case.get(
        "params", 78190
    )  # of the tiny model whose steps are stored
    return model


def sample(array: np.ndarray) -> np.ndarray:
    """Every ceil(size / 16)-th entry of each axis."""
    return array[tuple(slice(None, None, -(-size // 16)) for size in array.shape)]


def without_keys(name: str, array: np.ndarray) -> np.ndarray:
    """Without the key third of qkv.bias, whose gradient is rounding alone."""
    third = len(array) // 3
    return np.delete(array, np.s_[third : 2 * third]) if name.endswith("qkv.bias") else array


def gradients(model: SwinTransformer, layout: str = "timm") -> dict[str, np.ndarray]:
    """Gradients of all parameters under the reference's names and layouts."""
    ours = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return model.weight_maps()[layout].from_paddle(ours, model)


def norms_gap(found: dict[str, np.ndarray], keys: list[str], wanted: np.ndarray) -> float:
    got = [np.linalg.norm(found[key].astype(np.float64)) for key in keys]
    return filling.relative(got, wanted)


def classify(model: SwinTransformer, case: dict, arrays: dict, prefix: str, seed: int) -> None:
    """Logits, samples of every map and, where they are stored, gradient norms."""
    size = tuple(case["img_size"])
    x = filling.images(seed, (len(arrays[f"{prefix}logits"]), 3, *size), case)
    trained = f"{prefix}grad_norms" in arrays
    with paddle.set_grad_enabled(trained):
        stages = model.forward_intermediates(paddle.to_tensor(x))
    values = {name: tensor.detach().numpy() for name, tensor in stages.items()}
    got = {"logits": values["logits"], "pooled": values["pre_logits"]}
    got |= {"patch_embed_sample": sample(values["patch_embed"]), "final_norm_sample": sample(values["norm"])}
    got |= {f"stage{s}_sample": sample(values[f"stage_{s}"]) for s in range(4)}
    got |= {f"merge{s + 1}_sample": sample(values[f"merge_{s}"]) for s in range(3)}
    if prefix:  # of other sizes only some are stored
        got = {name: value for name, value in got.items() if prefix + name in arrays}
    gaps, seen = filling.Gaps(), {prefix + name for name in got}
    for name, value in got.items():
        gaps.add(name, filling.gap(value, arrays[prefix + name]), FORWARD)
    if trained:
        loss = F.cross_entropy(stages["logits"], paddle.to_tensor(case["labels"]))
        loss.backward()
        gaps.add("loss", filling.relative([float(loss)], arrays["ce_loss"]), 1e-6)
        gaps.add("gradient norms", norms_gap(gradients(model), case["grad_keys"], arrays["grad_norms"]), GRAD_NORM)
        seen |= {"ce_loss", "grad_norms"}
    of_case = {n for n in arrays if n.startswith(prefix) and not n.endswith("_f64")}
    assert of_case - seen <= {f"{prefix}timm_logits"}, "an array was not compared"
    gaps.check()


@pytest.mark.parametrize("path", filling.files(r"cls_swin_\w+", slow=HEAVY))
def test_published_sizes(path):
    manifest, arrays = filling.load(path)
    model = filled(getattr(ppswin, manifest["model"])(), manifest)
    classify(model, manifest, arrays, "", filling.seed_of(path))


@pytest.mark.parametrize("path", filling.files("size_swin_tiny"))
@pytest.mark.parametrize("name", [pytest.param("256_w8", marks=pytest.mark.slow), "224x448_w7"])
def test_other_image_sizes(path, name):
    manifest, arrays = filling.load(path)
    assert len(manifest["cases"]) == 2
    case = manifest["cases"][name]
    build = partial(ppswin.swin_tiny_patch4_window7_224, **case["model_kwargs"])
    classify(filled(build(), case), case, arrays, f"{name}/", filling.seed_of(path))
    if f"{name}/timm_logits" in arrays:
        x = paddle.to_tensor(filling.images(filling.seed_of(path), (1, 3, *case["img_size"])))
        with paddle.no_grad():
            other = filled(build(window_rule="timm"), case)(x).numpy()
        assert filling.gap(other, arrays[f"{name}/timm_logits"]) < FORWARD
        assert filling.gap(other, arrays[f"{name}/logits"]) > 1e-3


def tiny(path, name: str, **changes) -> tuple:
    """(model, case, arrays of the case, image)."""
    manifest, arrays = filling.load(path)
    case = manifest["cases"][name]
    config = case["config"]
    model = filled(SwinTransformer(**{**config, **changes}), case)
    size = config["img_size"]
    shape = (2, 3, *(size if isinstance(size, list) else (size, size)))
    x = paddle.to_tensor(filling.images(filling.seed_of(path), shape, case), stop_gradient=False)
    own = {n.removeprefix(f"{name}/"): a for n, a in arrays.items() if n.startswith(f"{name}/")}
    return model, case, own, x


def tokens(stages: dict) -> dict[str, np.ndarray]:
    """The stages under the reference's names, maps as tokens."""
    names = {"patch_embed": "patch_embed", "norm": "norm", "pre_logits": "pooled", "logits": "logits"}
    names |= {n: f"block{n[6]}.{int(n[-2:])}" for n in stages if "_block_" in n}
    values = {theirs: stages[ours].detach().numpy() for ours, theirs in names.items()}
    return {n: a.reshape(len(a), -1, a.shape[-1]) if a.ndim == 4 else a for n, a in values.items()}


def shifted_block(model: SwinTransformer, stages: dict) -> dict[str, np.ndarray]:
    """What happens in the second block of stage 0, the first of stage 1, and between them."""
    block, last = model.layers[0].blocks[1], model.layers[1].blocks[1]
    as_tokens = lambda t: t.reshape([2, -1, t.shape[-1]])  # noqa: E731
    x = as_tokens(stages["stage_0_block_00"])
    norm1 = block.norm1(x)
    windows, attended = block.windows(norm1), block.attend(norm1)
    merge = model.layers[0].downsample
    groups = merge.groups(as_tokens(stages["stage_0"])).reshape([2, -1, 4 * merge.dim])
    down, across = block.grid
    side = block.window[0]
    # Windows in their places are the rolled map.
    whole = windows.numpy().reshape(2, down // side, across // side, side, side, -1).transpose(0, 1, 3, 2, 4, 5)
    last_x = last.norm1(as_tokens(stages["stage_1_block_00"]))
    found = {
        "b01/norm1": norm1.reshape([2, down, across, -1]),
        "b01/rolled": whole.reshape(2, down, across, -1),
        "b01/windows": windows,
        "b01/qkv": block.attn.qkv(windows),
        "b01/attn": block.attn.attention_map(windows, block.mask),
        "b01/attn_windows": block.attn(windows, block.mask),
        "b01/attn_out": attended.reshape([2, down, across, -1]),
        "b01/mlp_out": block.mlp(block.norm2(x + attended)),
        "b01/rel_bias": block.attn.bias(),
        "merge/concat": groups,
        "merge/norm": merge.norm(groups),
        "merge/out": merge.reduction(merge.norm(groups)),
        "b11/attn": last.attn.attention_map(last.windows(last_x), last.mask),
    }
    return {name: np.asarray(value.detach() if hasattr(value, "detach") else value) for name, value in found.items()}


@pytest.mark.parametrize("path", filling.files("tiny_swin"))
@pytest.mark.parametrize("name", CASES)
def test_tiny_swin_every_tensor(path, name):
    model, case, arrays, x = tiny(path, name)
    layout = "swin" if case.get("layout") == "official" else "timm"
    stages = model.forward_intermediates(x)
    got = tokens(stages)
    if any(key.startswith("b01/") for key in arrays):
        inside = shifted_block(model, stages)
        block = model.layers[0].blocks[1]
        np.testing.assert_array_equal(block.mask.numpy(), arrays["b01/attn_mask"])
        np.testing.assert_array_equal(relative_position_index(block.window), arrays["b01/rel_index"])
        got |= {key: value for key, value in inside.items() if key in arrays}
    gaps = filling.Gaps()
    for key, value in got.items():
        gaps.add(key, filling.gap(value, arrays[key]), FORWARD)
    loss = F.cross_entropy(stages["logits"], paddle.to_tensor(case["labels"]))
    loss.backward()
    gaps.add("loss", filling.relative([float(loss)], arrays["ce_loss"]), 1e-6)
    gaps.add("grad_x", filling.gap(x.grad.numpy(), arrays["grad_x"]), GRADIENTS)
    found = gradients(model, layout)
    keys = [key for key, _, _ in case["weights"]["keys"]]
    assert found.keys() == set(keys)
    if "grad_norms" in arrays:
        gaps.add("gradient norms", norms_gap(found, keys, arrays["grad_norms"]), GRADIENTS)
    else:
        for key in keys:
            want = without_keys(key, arrays[f"grad/{key}"])
            gaps.add(f"gradient of {key}", filling.gap(without_keys(key, found[key]), want), GRADIENTS)
    seen = {*got, "ce_loss", "grad_x", "grad_norms", "x_first", "b01/attn_mask", "b01/rel_index", "timm_logits"}
    left = {key for key in arrays if not key.endswith("_f64") and not key.startswith("grad/")} - seen
    assert not left, "an array was not compared"
    gaps.check()


@pytest.mark.parametrize("path", filling.files("tiny_swin"))
def test_an_oblong_map_by_timms_rule(path):
    model, _, arrays, x = tiny(path, "rect", window_rule="timm")
    got = model(x).numpy()
    assert filling.gap(got, arrays["timm_logits"]) < FORWARD
    assert filling.gap(got, arrays["logits"]) > 1e-2


@pytest.mark.parametrize("path", filling.files("tiny_swin"))
@pytest.mark.parametrize(("rule", "theirs"), [("timm", "timm"), ("detection", "det")])
def test_maps_that_are_not_whole_windows(path, rule, theirs):
    model, case, arrays, x = tiny(path, "pad", window_rule=rule)
    arrays = {n.removeprefix(f"{theirs}/"): a for n, a in arrays.items() if n.startswith(f"{theirs}/")}
    stages = model.forward_intermediates(x)
    got, gaps = tokens(stages), filling.Gaps()
    for key in ("block0.0", "block0.1", "block1.0", "block1.1", "norm", "logits"):
        gaps.add(key, filling.gap(got[key], arrays[key]), FORWARD)
    if "grad_norms" in arrays:
        for s in range(2):
            np.testing.assert_array_equal(model.layers[s].blocks[1].mask.numpy(), arrays[f"mask{s}.1"])
        F.cross_entropy(stages["logits"], paddle.to_tensor(case["labels"])).backward()
        gaps.add("grad_x", filling.gap(x.grad.numpy(), arrays["grad_x"]), GRADIENTS)
        keys = [key for key, _, _ in case["weights"]["keys"]]
        gaps.add("gradient norms", norms_gap(gradients(model), keys, arrays["grad_norms"]), GRADIENTS)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("swin_resize"))
def test_resizing(path):
    _, arrays = filling.load(path)
    gaps = filling.Gaps()
    for name in {name.partition("/")[0] for name in arrays if name.startswith("w")}:
        old, new = ((int(side),) * 2 for side in name.removeprefix("w").split("to"))
        table = arrays[f"{name}/table"]
        for mode, theirs in (("swin_bicubic", "official_bicubic"), ("timm_geometric", "timm_geometric")):
            got = resize_bias_table(table, old, new, mode)
            assert got.dtype == np.float32
            gaps.add(f"{name} {mode}", filling.gap(got, arrays[f"{name}/{theirs}"]), 1e-5)
        places = geometric_places(2 * new[0] - 1, 2 * old[0] - 1)
        gaps.add(f"{name} places", filling.gap(places, arrays[f"{name}/timm_coords"]), 1e-12)
    for name in {name.partition("/")[0] for name in arrays if name.startswith("ape")}:
        old, new = ((int(side),) * 2 for side in name.removeprefix("ape").split("to"))
        got = interpolate_pos_embed(arrays[f"{name}/embed"], old, new, num_prefix_tokens=0, mode="deit_bicubic")
        gaps.add(name, filling.gap(got, arrays[f"{name}/official_bicubic"]), 1e-5)
    assert len(gaps.rows) == 6 * 3 + 2
    gaps.check()
    assert arrays["map22kto1k"].tolist() == list(MAP_22K_TO_1K)


NO_DECAY = ["1d", "bias", "relative_position_bias_table"]


@pytest.mark.parametrize("path", filling.files("swin_traj"))
@pytest.mark.parametrize("variant", ["a_clip5", "b_clip1"])
def test_forty_steps(path, variant):
    manifest, arrays = filling.load(path)
    model = filled(SwinTransformer(**manifest["config"], drop_path_rate=0.0), manifest)
    model.train()
    optimizer = optim.make(model, optim.AdamW, weight_decay=0.05, no_weight_decay=NO_DECAY)
    clip, rates = manifest["variants"][variant]["clip"], arrays[f"{variant}/lr"]
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    images, labels = rng.standard_normal((64, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 64)
    criterion, losses, norms = CrossEntropy(), [], []
    for step, rate in enumerate(rates):
        rows = slice((16 * step) % 64, (16 * step) % 64 + 16)
        target = np.asarray(smooth_one_hot(labels[rows], 10, 0.1), np.float32)
        optimizer.set_lr(float(rate))
        loss = criterion(model(paddle.to_tensor(images[rows])), {"target": paddle.to_tensor(target)})
        loss.backward()
        losses.append(float(loss))
        norms.append(float(optim.clip_grad_norm(model.parameters(), clip)))
        optimizer.step()
        optimizer.clear_grad()
    gaps = filling.Gaps()
    gaps.add("loss", filling.relative(losses, arrays[f"{variant}/loss"]), 5e-6)
    gaps.add("grad norm", filling.relative(norms, arrays[f"{variant}/grad_norm"]), 1e-5)
    final = weights.export(model, layout="timm")
    keys = [key for key, _, _ in manifest["weights"]["keys"]]
    for key, norm in zip(keys, arrays[f"{variant}/final_param_norms"], strict=True):
        if not key.endswith("qkv.bias"):
            gaps.add(f"norm {key}", filling.relative([np.linalg.norm(final[key].astype(np.float64))], [norm]), 2e-6)
            if variant == "a_clip5":  # of the other the norms alone are stored
                gaps.add(key, filling.gap(final[key], arrays[f"{variant}/final/{key}"]), 1e-5)
    gaps.check()


def test_manifests_are_all_known():
    """A case that is added to the folder does not pass unseen."""
    for parameter in filling.files("tiny_swin"):
        path = parameter.values[0]
        if path is None:
            pytest.skip("no golden folder")
        assert json.loads(path.read_text())["cases"].keys() == {*CASES, "pad"}


# Peak, warm-up and minimum rates in the YAML, for a batch of 512; epochs and epochs of warm-up; published batch.
RECIPES = {
    "in1k_300": ((5e-4, 5e-7, 5e-6), 300, 20, 1024),
    "in22k_90": ((1.25e-4, 1.25e-7, 1.25e-6), 90, 5, 4096),
    "finetune_30": ((2e-5, 2e-8, 2e-7), 30, 5, 1024),
}


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("recipe", RECIPES)
def test_learning_rates(golden, recipe, prefix):
    if not (golden / "swin_schedules.npz").is_file():
        pytest.skip(f"no swin_schedules.npz in {golden}")
    (base, warmup_lr, least), epochs, warmup, batch = RECIPES[recipe]
    schedule = CosineAfterUpdate(
        base_lr=base, warmup_lr=warmup_lr, min_lr=least, warmup=Duration(epochs=float(warmup)),
        warmup_prefix=prefix, reference_batch=512,
    ).bind(Plan(10, batch, 10 * epochs))  # fmt: skip
    want = np.load(golden / "swin_schedules.npz")[f"{recipe}/{'prefix' if prefix else 'no_prefix'}"]
    np.testing.assert_allclose([schedule(step) for step in range(len(want))], want, rtol=1e-12, atol=0)


def test_drop_path_rates(golden):
    if not (golden / "swin_schedules.npz").is_file():
        pytest.skip(f"no swin_schedules.npz in {golden}")
    arrays = np.load(golden / "swin_schedules.npz")
    names = [name for name in arrays.files if name.startswith("drop_path/")]
    assert len(names) == 5
    for name in names:
        depth, rate = name.removeprefix("drop_path/").split("_")
        depths = {12: (2, 2, 6, 2), 24: (2, 2, 18, 2)}[int(depth)]
        with paddle.LazyGuard():
            model = SwinTransformer(embed_dim=24, depths=depths, drop_path_rate=float(rate))
        got = [block.drop_path.rate for block in model.blocks]
        np.testing.assert_allclose(got, arrays[name], rtol=0, atol=1e-7)

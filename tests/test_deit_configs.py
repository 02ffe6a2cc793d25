"""The configurations of DeiT and DeiT III hold the papers' recipes, and their recipes run in order."""

import inspect
import math
import re
from functools import cache
from pathlib import Path

import paddle
import pytest
from test_configs import DEIT, FOLDER, PAPERS, ROOT, build, header, label, load

from ppcore import config
from ppcore.config import components, signatures
from ppcore.config.durations import Plan
from ppcore.engine.run_folder import essentials
from ppcore.optim import AdamW, decayed_names

DEIT1 = {path.stem: path for path in DEIT if path.parent.name == "deit"}
DEIT3 = {path.stem: path for path in DEIT if path.parent.name == "deit3"}
PAPER, PAPER3 = PAPERS["deit"], PAPERS["deit3"]
IMAGENET = 1_281_167  # training images

MEAN_STD = {"name": "ppcore.data.Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
FLIP = {"name": "ppcore.data.RandomHorizontalFlip"}
RAND_AUGMENT = {  # rand-m9-mstd0.5-inc1
    "name": "ppcore.data.RandAugment",
    "magnitude": 9,
    "magnitude_std": 0.5,
    "num_ops": 2,
    "prob": 0.5,
    "increasing": True,
    "fill": [124, 116, 104],  # 255 · mean
}
THREE_AUGMENT = [
    {"name": "ppcore.data.ThreeAugment"},
    {"name": "ppcore.data.ColorJitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3},
]


def crop(size: int) -> dict:
    return {
        "name": "ppcore.data.RandomResizedCrop",
        "size": size,
        "scale": [0.08, 1.0],
        "interpolation": "bicubic",
    }


def erasing(prob: float) -> dict:
    third = 0.3333333333333333
    return {
        "name": "ppcore.data.RandomErasing",
        "prob": prob,
        "mode": "pixel",
        "area": [0.02, third],
        "min_aspect": 0.3,
        "count": 1,
    }


def mixing(mixup: float, smoothing: float) -> list[dict]:
    return [
        {
            "name": "ppcore.data.Mixup",
            "mixup_alpha": mixup,
            "cutmix_alpha": 1.0,
            "prob": 1.0,
            "switch_prob": 0.5,
            "label_smoothing": smoothing,
        }
    ]


def evaluation(resize: int, size: int) -> list[dict]:
    return [
        {"name": "ppcore.data.Resize", "size": resize, "interpolation": "bicubic"},
        {"name": "ppcore.data.CenterCrop", "size": size},
        MEAN_STD,
    ]


def rates(loaded: config.Config, images: int) -> list[float]:
    """The learning rate of every epoch."""
    batch, epochs = loaded.DataLoader.Train.batch_size, round(loaded.Global.length().epochs)
    plan = Plan(images // batch, batch, epochs * (images // batch))
    schedule = components.build(loaded.Optimizer.lr).bind(plan)
    found = []
    for epoch in range(epochs):
        within = {schedule(epoch * plan.steps_per_epoch + step) for step in (0, 1, plan.steps_per_epoch - 1)}
        assert len(within) == 1, "one rate an epoch, as the official code steps"
        found += within
    return found


def expected(path: Path) -> list[float]:
    """The published percentage of a file's header."""
    [line] = [line for line in header(path) if line.startswith("Expected")]
    return [float(number) for number in re.findall(r"(\d+\.\d+) %", line)]


def figure(paper, table: str, **wanted) -> float:
    """One number of a paper's table."""
    [value] = {
        f.value
        for f in paper.figures()
        if f.table.id == table and all(getattr(f, key) == value for key, value in wanted.items())
    }
    return value


@cache
def step(file: str, options: tuple[str, ...]) -> config.Config:
    return config.load(ROOT / file, options)


def same_optimizer(loaded: config.Config, name: str, **arguments) -> None:
    """The optimiser with these arguments and no others, written down or by default."""
    assert loaded.Optimizer.name == f"ppcore.optim.{name}"
    target = components.resolve(loaded.Optimizer.name, "")
    defaults = {key: p.default for key, p in inspect.signature(target).parameters.items()}
    given = {**defaults, **loaded.Optimizer.component()}
    assert {key: given[key] for key in arguments} == arguments
    assert set(loaded.Optimizer.component()) <= {"name", *arguments}
    assert loaded.Optimizer.no_weight_decay == ["1d", "pos_embed", "cls_token"] or "regnety" in loaded.Arch["name"]
    assert loaded.Optimizer.accumulate == 1


# ---- DeiT ---------------------------------------------------------------------------------------

SETS = ("cifar10", "cifar100", "flowers", "cars", "inat18", "inat19")
CLASSES = {"cifar10": 10, "cifar100": 100, "flowers": 102, "cars": 196, "inat18": 8142, "inat19": 1010}
STARTS = ("base_224", "base_384", "base_distilled_224", "base_distilled_384")
TRAINED = [f"{size}{kind}" for size in ("tiny", "small", "base") for kind in ("_224", "_distilled_224")]
LONGER = [f"{size}_distilled_224_1000ep" for size in ("tiny", "small", "base")]
FINE_TUNED = ["base_384", "base_distilled_384", "base_distilled_384_1000ep"]
TRANSFERRED = [f"{start}_{name}" for start in STARTS for name in SETS]
SCRATCH = ["cifar10_scratch_regnety_160", "cifar10_scratch_base_224", "cifar10_scratch_base_distilled_224"]


def test_every_row_has_a_file():
    assert set(DEIT1) == {*TRAINED, *LONGER, *FINE_TUNED, *TRANSFERRED, *SCRATCH}
    assert len(DEIT1) == 6 + 3 + 3 + 24 + 3


@pytest.mark.parametrize("stem", sorted(DEIT1))
def test_the_file_name_says_the_model_and_the_header_its_figure(stem):
    path, loaded = DEIT1[stem], load(DEIT1[stem])
    opening = header(path)[0] + header(path)[1]
    assert "arXiv 2012.12877" in opening
    builder = loaded.Arch["name"].removeprefix("ppdeit.")
    if stem in SCRATCH:
        assert builder == ("regnety_160" if "regnety" in stem else f"deit_{stem[16:-4]}_patch16_224")
        assert expected(path) == [figure(PAPER, "scratch", builder=builder)]
        assert "section 5.4" in opening
        return
    model, size = re.match(r"(\w+?)_(224|384)", stem).groups()
    assert builder == f"deit_{model}_patch16_{size}"
    if stem in TRANSFERRED:
        assert expected(path) == [figure(PAPER, "table7", builder=builder, dataset=stem.rpartition("_")[2])]
        assert "Table 7" in opening
    else:
        group = "1000 epochs" if stem.endswith("1000ep") else "300 epochs"
        assert expected(path) == [figure(PAPER, "table5", builder=builder, dataset="imagenet-1k", group=group)]
        assert "Table 5" in opening
        assert f"{group.split()[0]} epochs" in "\n".join(header(path)) or stem in ("base_384",)


@pytest.mark.parametrize("stem", TRAINED + LONGER)
def test_table_9(stem):
    loaded = load(DEIT1[stem])
    train, evaluate = loaded.DataLoader.Train, loaded.DataLoader.Eval
    epochs = 1000 if stem in LONGER else 300
    assert loaded.Global.length().epochs == epochs
    assert train.batch_size == 1024
    same_optimizer(loaded, "AdamW", beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert loaded.Optimizer.weight_decay == 0.05
    assert loaded.Optimizer.clip_norm is None
    lr = rates(loaded, IMAGENET)
    assert lr[:2] == [1e-6, 1e-6]  # stepped after the epoch
    assert lr[2] == pytest.approx(1e-6 + (1e-3 - 1e-6) / 5)
    assert max(lr) == lr[6]  # warm-up replaces the cosine's beginning
    assert lr[6] == pytest.approx({300: 0.99932e-3, 1000: 0.99994e-3}[epochs], rel=1e-5)
    assert 1e-5 < lr[-1] < 1.04e-5
    assert (loaded.AMP.level, loaded.AMP.dtype) == ("O1", "float16")
    assert loaded.EMA is None  # the published numbers are of the plain weights
    arch = {**signatures.parameters(components.resolve(loaded.Arch["name"], "")), **loaded.Arch}
    assert arch["drop_path_rate"] == 0.1
    assert arch["drop_path_mode"].default == "linear"
    assert arch["drop_rate"].default == arch["attn_drop_rate"].default == 0.0
    assert not loaded.Global.eval_mode_training
    assert loaded.Global.pretrained is None
    assert train.transforms == [crop(224), FLIP, RAND_AUGMENT, MEAN_STD, erasing(0.25)]
    assert train.batch_transforms == mixing(0.8, 0.1)
    assert train.repeats == 3
    assert evaluate.transforms == evaluation(256, 224)
    assert train.dataset == {"name": "ppcore.data.ImageFolder", "root": "data/imagenet/train"}
    assert evaluate.dataset == {"name": "ppcore.data.ImageFolder", "root": "data/imagenet/val"}


def test_weight_decay_leaves_out_what_the_official_run_left_out():
    rules = load(DEIT1["tiny_distilled_224"]).Optimizer.no_weight_decay
    model = build(DEIT1["tiny_distilled_224"])
    names = {name: p for name, p in model.named_parameters()}
    decayed = decayed_names(model, rules)
    assert {name for name, p in names.items() if p.ndim > 1} - decayed == {"pos_embed", "cls_token"}
    assert "dist_token" in decayed  # timm 0.3.2 knows no better
    assert not {name for name in decayed if names[name].ndim < 2}


def hard_distillation(loaded: config.Config, teacher: dict) -> None:
    assert loaded.Loss == {
        "name": "ppdeit.Distillation",
        "base": {"name": "ppcore.losses.CrossEntropy"},
        "mode": "hard",
        "alpha": 0.5,
        "through": "token",
        "teacher": {"name": "ppdeit.Teacher", **teacher},
    }


@pytest.mark.parametrize("stem", [stem for stem in DEIT1 if stem not in TRANSFERRED])
def test_distilled_models_have_the_teacher_and_others_none(stem):
    loaded = load(DEIT1[stem])
    if "distilled" not in stem:
        assert loaded.Loss == {"name": "ppcore.losses.CrossEntropy"}
    elif stem in SCRATCH:
        arch = {"name": "ppdeit.regnety_160", "num_classes": 10}
        folder = load(DEIT1["cifar10_scratch_regnety_160"]).Global.output_dir + "/checkpoints/latest"
        hard_distillation(loaded, {"arch": arch, "weights": folder, "source": None})
    else:
        arch = {"name": "ppdeit.regnety_160"}
        hard_distillation(loaded, {"arch": arch, "weights": "output/teachers/regnety_160.pth", "source": "timm"})


@pytest.mark.parametrize("stem", FINE_TUNED)
def test_fine_tuning_at_384(stem):
    loaded = load(DEIT1[stem])
    train = loaded.DataLoader.Train
    assert loaded.Global.length().epochs == 30
    assert train.batch_size == 32 * 16
    same_optimizer(loaded, "AdamW", beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert loaded.Optimizer.weight_decay == 1e-8
    assert loaded.Optimizer.clip_norm is None
    lr = rates(loaded, IMAGENET)
    assert lr[:2] == [1e-6, 1e-6]
    assert lr[6:] == [pytest.approx(5e-6)] * 24
    assert train.transforms == [crop(384), FLIP, RAND_AUGMENT, MEAN_STD, erasing(0.25)]
    assert train.batch_transforms == mixing(0.8, 0.1)
    assert train.repeats == 3
    assert loaded.DataLoader.Eval.transforms == evaluation(int(384 / 0.875), 384)
    assert loaded.Global.pretrained.pos_embed == "deit_bicubic"
    assert not loaded.Global.pretrained.new_head
    # Nothing random inside the model either way; the teacher's term needs both outputs, which train mode gives.
    distilled = "distilled" in stem
    assert loaded.Global.eval_mode_training == (not distilled)
    assert loaded.Arch["drop_path_rate"] == (0.0 if distilled else 0.1)


@pytest.mark.parametrize("stem", TRANSFERRED)
def test_transfer(stem):
    loaded = load(DEIT1[stem])
    start, _, name = stem.rpartition("_")
    size = int(start[-3:])
    train = loaded.DataLoader.Train
    assert loaded.Arch["num_classes"] == CLASSES[name] == PAPER.datasets[name].classes
    assert train.batch_size == 768
    assert train.repeats == 3
    assert train.batch_transforms == mixing(0.8, 0.1)
    assert loaded.DataLoader.Eval.transforms == evaluation({224: 256, 384: 438}[size], size)
    augmentation = [crop(size), FLIP, RAND_AUGMENT, MEAN_STD]
    if name.startswith("inat"):  # facebookresearch/deit, issue 105
        same_optimizer(loaded, "AdamW", beta1=0.9, beta2=0.999, epsilon=1e-8)
        epochs, peak, decay, drop_path = 360, 7.5e-5, 0.05, 0.1
        augmentation += [erasing(0.1)]
    else:  # issue 45
        same_optimizer(loaded, "Momentum", momentum=0.9, nesterov=True)
        epochs, peak, decay, drop_path = 1000, 0.01, 1e-4, 0.0
    assert loaded.Global.length().epochs == epochs
    assert loaded.Optimizer.weight_decay == decay
    assert loaded.Arch["drop_path_rate"] == drop_path
    assert train.transforms == augmentation
    lr = rates(loaded, 100_000)
    assert lr[:2] == [1e-6, 1e-6]
    assert max(lr) == pytest.approx(peak, rel=1e-3)  # not scaled with the batch
    assert loaded.Global.pretrained.new_head
    base = {"name": "ppcore.losses.CrossEntropy"}
    assert loaded.Loss == ({"name": "ppdeit.BothHeads", "base": base} if "distilled" in stem else base)


@pytest.mark.parametrize("name", SETS)
def test_a_run_on_a_data_set_is_recognised_where_that_is_possible(name):
    loaders = PAPER.datasets[name].loaders
    for start in STARTS:
        dataset = load(DEIT1[f"{start}_{name}"]).DataLoader.Eval.dataset
        assert any(wanted.items() <= dataset.items() for wanted in loaders) == (name != "inat19")
    flowers = load(DEIT1["base_224_flowers"]).DataLoader.Train.dataset
    assert flowers["split"] == "trainval"  # Table 6: 2,040 images


@pytest.mark.parametrize("stem", SCRATCH)
def test_cifar10_from_scratch(stem):
    loaded = load(DEIT1[stem])
    assert loaded.Global.length().epochs == 7200
    assert loaded.Arch["num_classes"] == 10
    assert loaded.Global.pretrained is None
    same_optimizer(loaded, "AdamW", beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert loaded.DataLoader.Train.dataset == {
        "name": "ppcore.data.PaddleVision",
        "dataset": "Cifar10",
        "split": "train",
    }
    assert loaded.DataLoader.Train.transforms == [crop(224), FLIP, RAND_AUGMENT, MEAN_STD, erasing(0.25)]
    lr = rates(loaded, 50_000)
    assert lr[:2] == [1e-6, 1e-6]
    assert max(lr) == pytest.approx(1e-3, rel=1e-5)
    decayed_names(build(DEIT1[stem]), loaded.Optimizer.no_weight_decay)  # every rule names something


# ---- DeiT III -----------------------------------------------------------------------------------

SIZES = {"small": "ViT-S", "medium": "ViT-M", "base": "ViT-B", "large": "ViT-L", "huge": "ViT-H/14"}
# Commands of README_revenge.md: drop-path rate of every stage. ViT-M has none: the rates of ViT-S.
DROP_PATH = {
    "in1k_small_pretrain_224": 0.05,
    "in1k_small_finetune_384": 0.0,
    "in1k_medium_pretrain_224": 0.05,
    "in1k_base_pretrain_192": 0.2,
    "in1k_base_finetune_224": 0.2,
    "in1k_base_finetune_384": 0.15,
    "in1k_large_pretrain_192": 0.45,
    "in1k_large_finetune_224": 0.45,
    "in1k_large_finetune_384": 0.4,
    "in1k_huge_pretrain_160": 0.6,
    "in1k_huge_finetune_224": 0.55,
    "in21k_small_pretrain_224": 0.05,
    "in21k_small_finetune_224": 0.05,
    "in21k_small_finetune_384": 0.0,
    "in21k_medium_pretrain_224": 0.05,
    "in21k_medium_finetune_224": 0.05,
    "in21k_base_pretrain_224": 0.1,
    "in21k_base_finetune_224": 0.15,
    "in21k_base_finetune_384": 0.15,
    "in21k_large_pretrain_224": 0.3,
    "in21k_large_finetune_224": 0.4,
    "in21k_large_finetune_384": 0.4,
    "in21k_huge_pretrain_128": 0.5,
    "in21k_huge_finetune_224": 0.45,
}


def stage(stem: str) -> tuple[str, str, str, int]:
    """(data, size, pretrain or finetune, pixels) of a file name."""
    data, size, kind, pixels = re.fullmatch(r"(in1k|in21k)_(\w+?)_(pretrain|finetune)_(\d+)", stem).groups()
    return data, size, kind, int(pixels)


def recipe(stem: str) -> str:
    """Which of the four recipes a file follows."""
    data, _, kind, pixels = stage(stem)
    if kind == "pretrain":
        return data
    return "in21k to in1k" if (data, pixels) == ("in21k", 224) else "finetune"


def test_every_stage_has_a_file():
    assert set(DEIT3) == set(DROP_PATH)
    assert len(DEIT3) == 24


@pytest.mark.parametrize("stem", sorted(DEIT3))
def test_deit3_file_name_and_published_figure(stem):
    path, loaded = DEIT3[stem], load(DEIT3[stem])
    data, size, kind, pixels = stage(stem)
    patch = 14 if size == "huge" else 16
    builder = f"deit3_{size}_patch{patch}_{384 if pixels == 384 else 224}"
    assert loaded.Arch["name"] == f"ppdeit.{builder}"
    assert build(path).patch_embed.img_size[0] == pixels - pixels % patch
    assert header(path)[0].startswith(f"DeiT III {SIZES[size]}, ")
    assert "arXiv 2204.07118" in header(path)[0]
    logged = {
        f.group: f.value
        for row in PAPER3.tables
        if row.id == "logs"
        for f in PAPER3.figures()
        if f.table.id == "logs" and f"{SIZES[size]} @{pixels}" in _row_of(row, f.value)
    }
    group = {"in1k": "ImageNet-1k", "in21k": "ImageNet-21k"}[data]
    if kind == "pretrain" and stem not in ("in1k_small_pretrain_224", "in1k_medium_pretrain_224"):
        assert expected(path) == ([logged[group]] if size != "medium" else [])
    else:
        assert expected(path) == [figure(PAPER3, data, builder=builder, dataset="imagenet-1k")]
    if size == "medium":
        assert "Nobody publishes settings of ViT-M" in "\n".join(header(path)).replace("\n", " ")


def _row_of(table, value: float) -> str:
    [row] = [row.name for row in table.rows if row.values == [value]]
    return row


@pytest.mark.parametrize("stem", sorted(DEIT3))
def test_deit3_recipe(stem):
    loaded = load(DEIT3[stem])
    _, size, _, pixels = stage(stem)
    kind = recipe(stem)
    train = loaded.DataLoader.Train
    epochs, batch, decay = {
        "in1k": (800, 2048, 0.05),
        "finetune": (20, 512, 0.1),
        "in21k": (90 if size == "huge" else 240, 2048, 0.02),
        "in21k to in1k": (50, 2048, 0.02),
    }[kind]
    assert (loaded.Global.length().epochs, train.batch_size) == (epochs, batch)
    assert loaded.Optimizer.weight_decay == decay
    if kind == "finetune":
        same_optimizer(loaded, "AdamW", beta1=0.9, beta2=0.999, epsilon=1e-8)
        assert loaded.Optimizer.clip_norm is None
    else:
        same_optimizer(loaded, "Lamb", beta1=0.9, beta2=0.999, epsilon=1e-8)
        assert loaded.Optimizer.clip_norm == 1.0
    peak = {"in1k": 4e-3 if size == "small" else 3e-3, "finetune": 1e-5, "in21k": 1e-3, "in21k to in1k": 3e-4}[kind]
    lr = rates(loaded, IMAGENET)
    assert lr[:2] == [1e-6, 1e-6]
    assert lr[6] == max(lr)
    assert lr[6] == pytest.approx(peak, rel=0.03)  # unscaled; the cosine has begun meanwhile
    assert loaded.Optimizer.lr["base_lr"] == peak
    # The last epoch runs at the cosine's last but one place: the rate is stepped after the epoch.
    assert lr[-1] == pytest.approx(1e-5 + (peak - 1e-5) * (1 + math.cos(math.pi * (epochs - 2) / epochs)) / 2)
    if kind == "in1k":
        assert loaded.Loss == {"name": "ppcore.losses.BinaryCrossEntropy", "binarize": True}
    else:
        assert loaded.Loss == {"name": "ppcore.losses.CrossEntropy"}
    mixup, smoothing = {"in1k": (0.8, 0.0), "finetune": (0.8, 0.1)}.get(kind, (0.0, 0.1))
    assert train.batch_transforms == mixing(mixup, smoothing)
    assert train.repeats == (3 if kind == "in1k" else 1)
    simple = [
        {"name": "ppcore.data.Resize", "size": pixels, "interpolation": "bicubic"},
        {"name": "ppcore.data.RandomCrop", "size": pixels, "padding": 4, "padding_mode": "reflect"},
    ]
    size_read = pixels - pixels % (14 if size == "huge" else 16)
    cut = [{"name": "ppcore.data.CenterCrop", "size": size_read}] if size_read != pixels else []
    assert (
        train.transforms
        == {
            "in1k": [crop(pixels), FLIP, *THREE_AUGMENT, *cut, MEAN_STD],
            "finetune": [crop(pixels), FLIP, RAND_AUGMENT, MEAN_STD],
            "in21k": [*simple, FLIP, *THREE_AUGMENT, *cut, MEAN_STD],
            "in21k to in1k": [*simple, FLIP, *THREE_AUGMENT, MEAN_STD],
        }[kind]
    )
    assert loaded.DataLoader.Eval.transforms == evaluation(pixels, size_read)  # crop ratio 1.0
    assert loaded.Arch["drop_path_rate"] == DROP_PATH[stem]
    assert loaded.Arch["num_classes"] == (21841 if kind == "in21k" else 1000)
    assert not loaded.Global.eval_mode_training
    assert loaded.EMA is None
    assert (loaded.AMP.level, loaded.AMP.dtype) == ("O1", "float16")
    model = build(DEIT3[stem])
    assert {block.drop_path.rate for block in model.blocks if hasattr(block, "drop_path")} <= {DROP_PATH[stem]}
    assert decayed_names(model, loaded.Optimizer.no_weight_decay) == {
        name for name, p in model.named_parameters() if p.ndim > 1 and name not in ("pos_embed", "cls_token")
    }
    start = loaded.Global.pretrained
    assert (start is None) == (kind in ("in1k", "in21k"))
    assert start is None or start.new_head == (kind == "in21k to in1k")


# ---- both ---------------------------------------------------------------------------------------


def origin(weights: str) -> Path:
    """The configuration that writes these weights: the final ones, not those the test images chose."""
    folder, _, inside = weights.partition("/checkpoints/")
    assert inside == "latest", weights
    return FOLDER / Path(folder).relative_to("output").with_suffix(".yaml")


STARTED = [path for path in DEIT if "\n  pretrained:" in path.read_text(encoding="utf-8")]


def test_none_that_starts_from_weights_is_forgotten():
    assert [path for path in DEIT if load(path).Global.pretrained] == STARTED
    assert len(STARTED) == 3 + 24 + 14


@pytest.mark.parametrize("path", STARTED, ids=label)
def test_starts_from_what_another_configuration_leaves(path):
    start = load(path).Global.pretrained
    source = origin(start.path)
    assert source.is_file(), f"starts from {start.path}, which no configuration writes"
    before = load(source)
    assert before.EMA is None  # the official code starts from the plain weights
    ours, theirs = build(path), build(source)
    fits = {name: tuple(p.shape) for name, p in theirs.named_parameters()}
    differ = {name for name, p in ours.named_parameters() if fits.get(name) != tuple(p.shape)}
    assert set(fits) == {name for name, _ in ours.named_parameters()}
    heads = {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"} & set(fits)
    assert differ - {"pos_embed"} == (heads if start.new_head else set())
    assert (start.pos_embed == "deit_bicubic") == ("pos_embed" in differ)


RECIPES = [(key, item) for key in ("deit", "deit3") for item in PAPERS[key].reproduce]


@pytest.mark.parametrize(("key", "item"), RECIPES, ids=lambda v: v if isinstance(v, str) else f"{v.table} {v.row}")
def test_a_recipe_loads_and_runs_in_order(key, item):
    written, given = [], set()
    for part in item.configs:
        assert part.config.startswith(f"configs/{key}/")
        loaded = step(part.config, tuple(part.options))
        used = [loaded.Global.pretrained.path] if loaded.Global.pretrained else []
        if "teacher" in loaded.Loss:
            used.append(loaded.Loss["teacher"]["weights"])
        for weights in used:
            folder = weights.partition("/checkpoints/")[0]
            assert folder in written or weights == "output/teachers/regnety_160.pth", (
                f"{weights} comes from no step before"
            )
            given |= {folder, weights}
        if part.options:
            assert any(option.startswith("Global.output_dir=") for option in part.options), "a folder of its own"
        assert loaded.Global.output_dir not in written
        written.append(loaded.Global.output_dir)
    assert set(written[:-1]) <= given, "a step that nothing uses"
    last = item.configs[-1]
    if not last.options and item.table not in ("table2", "table3", "table8", "table10"):
        assert expected(ROOT / last.config) == [item.published]
    needs_teacher = "output/teachers/regnety_160.pth" in given
    assert ("output/teachers/regnety_160.pth" in item.needs) == needs_teacher


def test_recipes_that_share_a_folder_share_the_run():
    runs = {}
    for _, item in RECIPES:
        for part in item.configs:
            loaded = step(part.config, tuple(part.options))
            assert runs.setdefault(loaded.Global.output_dir, essentials(loaded.tree)) == essentials(loaded.tree)
    plain = {load(path).Global.output_dir: essentials(load(path).tree) for path in DEIT}
    for folder, run in plain.items():
        assert runs[folder] == run, "a configuration that no recipe runs, or runs changed"


def test_every_number_of_the_tables_has_its_recipe():
    cells = {
        "table5": [f for f in PAPER.figures() if f.table.id == "table5" and f.dataset == "imagenet-1k"],
        "table7": [f for f in PAPER.figures() if f.table.id == "table7"],
    }
    assert len(cells["table5"]) - 2 == 12  # without ViT's and the teacher's own
    found = {
        table: sum(item.table == table for item in PAPER.reproduce) for table in {i.table for i in PAPER.reproduce}
    }
    assert found == {
        "table2": 5 * 2,
        "table3": 6 * 4,
        "table5": 12,
        "table7": len(cells["table7"]),
        "table8": 13 * 2,
        "table10": 4,
        "scratch": 3,
    }
    rows = {table.id: sum(len([v for v in row.values if v]) for row in table.rows) for table in PAPER.tables}
    assert (rows["table2"], rows["table3"], rows["table7"], rows["table8"]) == (15, 24, 24, 26)
    names = [(item.table, item.row) for _, item in RECIPES]
    assert len(set(names)) == len(names)
    built = [f for f in PAPER3.figures() if f.table.id in ("in1k", "in21k") and f.dataset == "imagenet-1k"]
    assert sorted(f.value for f in built) == sorted(
        item.published for item in PAPER3.reproduce if item.table in ("in1k", "in21k")
    )


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("no RandAugment 224 px", {"DataLoader.Train.transforms.2.prob": 0.0}),
        ("no random erasing 224 px", {"DataLoader.Train.transforms.4.prob": 0.0}),
        ("no Mixup 224 px", {"DataLoader.Train.batch_transforms.0.mixup_alpha": 0.0}),
        ("no CutMix 224 px", {"DataLoader.Train.batch_transforms.0.cutmix_alpha": 0.0}),
        ("neither Mixup nor CutMix 224 px", {"DataLoader.Train.batch_transforms.0.prob": 0.0}),
        ("no stochastic depth 224 px", {"Arch.drop_path_rate": 0.0}),
        ("no repeated augmentation 224 px", {"DataLoader.Train.repeats": 1}),
        ("with dropout 224 px", {"Arch.drop_rate": 0.1}),
    ],
)
def test_table_8_changes_one_thing(row, values):
    [item] = [item for item in PAPER.reproduce if (item.table, item.row) == ("table8", row)]
    [part] = item.configs
    changed = step(part.config, tuple(part.options)).tree
    names = {2: "ppcore.data.RandAugment", 4: "ppcore.data.RandomErasing"}

    def flat(node, path=()):
        if isinstance(node, (dict, list, tuple)):
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            return {key: value for part, below in pairs for key, value in flat(below, (*path, str(part))).items()}
        return {".".join(path): node}

    before, after = flat(load(DEIT1["base_224"]).tree), flat(changed)
    for i, name in names.items():
        assert after[f"DataLoader.Train.transforms.{i}.name"] == name
    differ = {key: value for key, value in after.items() if before.get(key) != value}
    assert differ.pop("Global.output_dir").startswith("output/deit/table8_")
    assert differ == values
    assert set(before) <= set(after)


def test_autoaugment_stands_where_randaugment_stood():
    name = "AutoAugment instead of RandAugment"
    [published] = [
        row.values for table in PAPER.tables if table.id == "table8" for row in table.rows if row.name == name
    ]
    for size, value in zip((224, 384), published, strict=True):
        [item] = [item for item in PAPER.reproduce if (item.table, item.row) == ("table8", f"{name} {size} px")]
        assert item.published == value
        assert len(item.configs) == {224: 1, 384: 2}[size]
        for part, plain in zip(item.configs, ("base_224", "base_384"), strict=False):
            changed, before = step(part.config, tuple(part.options)), load(DEIT1[plain])
            transforms = changed.DataLoader.Train.transforms
            assert transforms[2] == {"name": "ppcore.data.AutoAugment", "fill": RAND_AUGMENT["fill"]}
            assert [*transforms[:2], RAND_AUGMENT, *transforms[3:]] == before.DataLoader.Train.transforms
            assert changed.Optimizer == before.Optimizer
        assert transforms[0]["size"] == size


def test_sgd_rows_train_with_sgd():
    for row, which in (("SGD in training 384 px", 0), ("SGD in fine-tuning 384 px", 1)):
        [item] = [item for item in PAPER.reproduce if (item.table, item.row) == ("table8", row)]
        steps = [step(part.config, tuple(part.options)) for part in item.configs]
        assert [s.Optimizer.name == "ppcore.optim.Momentum" for s in steps] == [which == 0, which == 1]
        same_optimizer(steps[which], "Momentum", momentum=0.9, nesterov=True)
        assert steps[which].Optimizer.weight_decay == 1e-4


def test_a_head_alone_is_an_evaluation_of_the_trained_model():
    heads = [item for item in PAPER.reproduce if item.row.endswith((" class embedding", " distillation embedding"))]
    assert len(heads) == 8
    for item in heads:
        train, read = (step(part.config, tuple(part.options)) for part in item.configs[-2:])
        assert read.Arch["eval_head"] == item.row.split()[-2]
        source = origin(read.Global.pretrained.path)
        assert load(source).Global.output_dir == train.Global.output_dir
        assert read.Global.length().steps == 1
        assert components.build(read.Optimizer.lr).bind(Plan(1251, 1024, 1))(0) == 0.0
        assert read.DataLoader.Eval == train.DataLoader.Eval


def test_adamw_at_a_rate_of_zero_changes_nothing():
    paddle.seed(0)
    layer = paddle.nn.Linear(3, 2)
    before = layer.weight.numpy().copy()
    optimizer = AdamW(parameters=layer.parameters(), decayed={layer.weight.name}, weight_decay=0.05)
    optimizer.set_lr(0.0)
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    assert (layer.weight.numpy() == before).all()


def test_ablations_stand_in_the_papers_order_with_its_numbers():
    ablations = {ablation.id: ablation for ablation in PAPER.ablations}
    [table3] = [table for table in PAPER.tables if table.id == "table3"]
    assert [row.published for row in ablations["table3"].rows] == [row.values[0] for row in table3.rows]
    assert [row.published for row in ablations["recipe"].rows] == [77.9, 83.1]
    token = [row for row in ablations["table3"].rows if any("_token" in file for file in row.quick)]
    assert [row.eval_options for row in token] == [["Arch.eval_head=class"], ["Arch.eval_head=distillation"], []]
    analyses = {analysis.id: analysis for analysis in PAPER.analyses}
    assert [(p.x, p.y) for p in analyses["tokens"].published] == [("first", 0.06), ("last", 0.93)]
    assert [(p.x, p.y) for p in analyses["two_class_tokens"].published] == [("last", 0.999)]
    students = {item.config: item for item in PAPER.quick if item.name.rpartition("_")[2] in ("soft", "hard", "token")}
    assert len(students) == 6
    for file, item in students.items():
        teacher = re.sub(r"_\w+?\.yaml", "_teacher.yaml", file.replace("deit_", "deit-")).replace("deit-", "deit_")
        assert item.uses == {"Loss.teacher.weights": teacher}
        assert item.run_seeds == [0, 1, 2]

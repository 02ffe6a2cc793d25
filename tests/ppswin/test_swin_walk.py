"""The way a user goes from ImageNet-22k's weights to ImageNet-1k's classes in larger pictures, with real files and the recipes' bases."""

import importlib.util
import json

import cv2
import numpy as np
import paddle
import pytest
from conftest import ROOT, run_tool

from ppcore import weights
from ppcore.data import Digits, Normalize, Resize, read_image
from ppcore.layers.relative_bias import relative_position_index
from ppcore.layers.token_windows import shift_mask
from ppcore.weights.checkpoints import find_weights
from ppswin import SwinTransformer
from ppswin.imagenet_22k import MAP_22K_TO_1K

SMALL = dict(patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4])
# A digit stands for every hundredth class of ImageNet-1k, and for the same class in ImageNet-22k.
LABELS = {"1k": [100 * digit for digit in range(10)], "22k": [MAP_22K_TO_1K[100 * digit] for digit in range(10)]}
CONFIG = """
_base_: [{bases}]
Global:
  output_dir: {folder}/finetune
  duration: {{steps: 8}}
  eval_every: {{steps: 8}}
  save_every: {{steps: 8}}
  visualdl: false
  pretrained: {{path: {start}, source: swin}}
AMP: {{level: O0}}
Arch: {arch}
Optimizer:
  lr: {{base_lr: 2e-5, reference_batch: null, warmup: {{steps: 3}}}}
DataLoader:
  Train:
    dataset: &images {{name: ppcore.data.FileList, cls_label_path: {folder}/train_1k.txt, image_root: {folder}, num_classes: 1000}}
    batch_size: 32
    num_workers: 0
  Eval:
    dataset: {{<<: *images, cls_label_path: {folder}/test_1k.txt}}
    batch_size: 100
    num_workers: 0
"""


def options(texts: list[str]) -> list[str]:
    return [word for text in texts for word in ("-o", text)]


def run(name: str, *arguments) -> str:
    done = run_tool(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluated(*arguments) -> dict:
    return json.loads(run("eval", *arguments))


def official(exported: dict, model: SwinTransformer) -> dict:
    """An official file: the weights, and the buffers that follow from its sizes."""
    stored = dict(exported)
    for s, stage in enumerate(model.layers):
        for b, block in enumerate(stage.blocks):
            stored[f"layers.{s}.blocks.{b}.attn.relative_position_index"] = relative_position_index(block.window)
            if block.shift != (0, 0):
                stored[f"layers.{s}.blocks.{b}.attn_mask"] = shift_mask(stage.grid, block.window, block.shift)
    return stored


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The digits as PNG files, and their lists."""
    folder = tmp_path_factory.mktemp("walk")
    for split, count in (("train", 600), ("test", 100)):
        data, lines = Digits(split=split), []
        (folder / split).mkdir()
        for i in range(count):
            sample = data.load(i)
            cv2.imwrite(str(folder / split / f"{i:04d}.png"), sample["image"])
            lines.append(f"{split}/{i:04d}.png {LABELS['1k'][sample['label']]}\n")
        (folder / f"{split}_1k.txt").write_text("".join(lines))
    return folder


def pixels(folder, split: str, size: int = 32) -> np.ndarray:
    """The pictures as the recipe's evaluation at 384 px gives them to a network, [N, 3, size, size]."""
    resize, normalise = Resize(size=[size, size]), Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    files = sorted((folder / split).glob("*.png"))
    return np.stack([normalise(resize(read_image(str(file)), None), None) for file in files])


@pytest.fixture(scope="module")
def start(folder):
    """An official file of 21,841 classes that knows the digits where it is read rightly; and its accuracy then.

    The classifier is fitted to what the random network, its tables resampled, sees in pictures of 32 px.
    """
    paddle.seed(1)
    small = SwinTransformer(**SMALL, img_size=16, window_size=4, num_classes=21841)
    rng = np.random.default_rng(1)
    for name, parameter in small.named_parameters():
        if name.endswith("table"):
            parameter.set_value(rng.standard_normal(parameter.shape).astype("float32"))
        elif "blocks" in name and name.endswith("weight") and parameter.ndim == 2:
            parameter.set_value(parameter * 10)
    large = SwinTransformer(**SMALL, img_size=32, window_size=8, num_classes=0)
    exported = weights.export(small, layout="swin")
    large.set_state_dict(weights.convert(exported, source="swin", model=large, new_head=True))
    large.eval()
    with paddle.no_grad():
        seen = {split: large(paddle.to_tensor(pixels(folder, split))).numpy() for split in ("train", "test")}
    digits = {split: digits_of(folder, split) for split in seen}
    spread = seen["train"].std(axis=0)
    design = np.concatenate([seen["train"] / spread, np.ones((len(seen["train"]), 1))], axis=1)
    fitted = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ np.eye(10)[digits["train"]])
    weight, bias = 10 * fitted[:-1] / spread[:, None], 10 * fitted[-1]
    head = {"head.weight": np.zeros((21841, 32), "float32"), "head.bias": np.full(21841, -20.0, "float32")}
    head["head.weight"][LABELS["22k"]], head["head.bias"][LABELS["22k"]] = weight.T, bias
    np.savez(folder / "official.npz", **official({**exported, **head}, small))
    return folder / "official.npz", ((seen["test"] @ weight + bias).argmax(axis=1) == digits["test"]).mean()


def digits_of(folder, split: str) -> np.ndarray:
    lines = (folder / f"{split}_1k.txt").read_text().splitlines()
    return np.array([int(line.split()[1]) // 100 for line in lines])


@pytest.fixture(scope="module")
def fine_tuning(folder, start):
    """Twice as large pictures, windows of 8, the 1,000 classes."""
    arch = {"name": "ppswin.SwinTransformer", **SMALL, "img_size": 32, "window_size": 8, "drop_path_rate": 0.1}
    bases = ", ".join(str(ROOT / "configs" / "_base_" / f"{name}.yaml") for name in ("swin_22k_to_1k", "swin_384px"))
    path = folder / "finetune.yaml"
    path.write_text(CONFIG.format(folder=folder, bases=bases, arch=json.dumps(arch), start=start[0]))
    return path


def test_before_any_step_the_thousand_classes_are_known(fine_tuning, start, folder):
    """Tables resampled and rows taken from the file's classifier."""
    none = f"Global.output_dir={folder / 'none'}"
    at_once = evaluated("-c", fine_tuning, *options([none]))
    assert at_once["top1"] == start[1] > 0.6
    other = evaluated("-c", fine_tuning, *options([none, "Global.pretrained.pos_embed=timm_geometric"]))
    assert other["loss"] != pytest.approx(at_once["loss"], rel=1e-4)
    fresh = evaluated("-c", fine_tuning, *options([none, "Global.pretrained.new_head=true"]))
    assert fresh["top1"] < 0.1


@pytest.fixture(scope="module")
def trained(fine_tuning):
    """The run's configuration, and its best numbers."""
    run("train", "-c", fine_tuning)
    records = [
        json.loads(line) for line in (fine_tuning.parent / "finetune" / "metrics.jsonl").read_text().splitlines()
    ]
    return fine_tuning, records[-1]["best"]


def test_the_number_is_the_same_at_every_stop(trained, start, folder, tmp_path):
    path, best = trained
    again = evaluated("-c", path)
    assert again["top1"] == best["top1"] > 0.4
    assert "the run's best" in again["weights_from"]

    run("infer", "-c", path, *options([f"Infer.input={folder / 'test'}", f"Infer.output={tmp_path / 'eager'}"]))
    said = json.loads((tmp_path / "eager" / "predictions.json").read_text())["images"]
    labels = [100 * digit for digit in digits_of(folder, "test")]
    assert [one["file"].split("/")[-1] for one in said] == [f"{i:04d}.png" for i in range(len(labels))]
    told = np.array([one["topk"][0]["class"] for one in said])
    assert (told == labels).mean() == pytest.approx(best["top1"])

    for layout in ("swin", "timm"):
        file = tmp_path / f"{layout}.safetensors"
        run("export_weights", "-c", path, "--layout", layout, "--output", file)
        other = evaluated("-c", path, "--weights", file, "--source", layout)
        assert (other["top1"], other["loss"]) == (best["top1"], pytest.approx(again["loss"], rel=1e-6))

    formats = [] if importlib.util.find_spec("paddle2onnx") else ["Export.formats=[paddle]"]
    run("export_model", "-c", path, *options([f"Export.output={tmp_path / 'export'}", *formats]))
    run("infer", "--export", tmp_path / "export", folder / "test", "-o", f"Infer.output={tmp_path / 'exported'}")
    exported = json.loads((tmp_path / "exported" / "predictions.json").read_text())["images"]
    assert [one["topk"][0]["class"] for one in exported] == told.tolist()


def test_its_card_says_what_was_changed(trained, tmp_path):
    path, _ = trained
    run("export_weights", "-c", path, "--layout", "timm", "--output", tmp_path / "out.safetensors")
    sizes = {**SMALL, "img_size": 64, "window_size": 16, "num_classes": 7}
    run(
        "convert_weights", "--arch", "ppswin.SwinTransformer", "--source", "timm", "--input", tmp_path / "out.safetensors",
        "--output", tmp_path / "large.safetensors", "--layout", "swin", "--pos-embed", "timm_geometric", "--new-head", "zeros",
        *options([f"{key}={value}" for key, value in sizes.items()]),
    )  # fmt: skip
    card = json.loads((tmp_path / "large.card.json").read_text())["provenance"]
    assert card["changes"][-2:] == [
        "position bias: 4 tables of 8x8 windows resampled to 16x16 (timm_geometric)",
        "head: 1000 outputs in the file, 7 set to zero: it is to be trained",
    ]


def test_an_own_run_starts_one_with_other_windows(trained, folder, tmp_path):
    """A checkpoint of ours, not a file of theirs: its tables are resampled, too."""
    path, _ = trained
    found = find_weights(folder / "finetune").path
    model = SwinTransformer(**SMALL, img_size=64, window_size=16)
    notes = weights.load(model, found)
    assert notes == ["position bias: 4 tables of 8x8 windows resampled to 16x16 (swin_bicubic)"]
    model.eval()
    with paddle.no_grad():
        told = model(paddle.to_tensor(pixels(folder, "test", 64))).numpy().argmax(axis=1)
    changes = ["source=null", f"path={folder / 'finetune'}"]
    changes = [*(f"Global.pretrained.{one}" for one in changes), "Arch.img_size=64", "Arch.window_size=16"]
    result = evaluated("-c", path, *options([*changes, f"Global.output_dir={tmp_path / 'none'}"]))
    assert result["top1"] == pytest.approx((told == 100 * digits_of(folder, "test")).mean())

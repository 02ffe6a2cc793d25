"""Small configurations of the self-supervised and semi-supervised trainings, and runs of them."""

import json
from pathlib import Path
from typing import Any

import yaml
from conftest import run_tool

ALLOW = ("--allow", "ppssl")
STEPS = 8
NORMALIZE = {"name": "ppcore.data.Normalize", "mean": [0.5] * 3, "std": [0.5] * 3}
VIT = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}


def digits(split: str, limit: int | None = None) -> dict[str, Any]:
    """Digits of 16x16 pixels."""
    return {"name": "ppcore.data.Digits", "split": split, "image_size": 16, "limit": limit}


def crop(size: int, low: float, high: float) -> dict[str, Any]:
    """Transforms that end with a crop of a size and a share of the image."""
    return {
        "crop": {"name": "ppcore.data.RandomResizedCrop", "size": size, "scale": [low, high]},
        "normalize": NORMALIZE,
    }


def views(**kinds: dict[str, Any]) -> dict[str, Any]:
    """Transforms that make views."""
    return {"views": {"name": "ppcore.data.Views", "views": kinds}}


KNN = {"name": "ppcore.metrics.WeightedKNN", "k": 5, "train": digits("train", 100)}
PROBE = {
    "name": "ppssl.LinearProbe", "epochs": 5, "batch_size": 20, "base_lrs": [0.5, 2.0], "optimizer": "momentum",
    "train": digits("train", 100),
}  # fmt: skip
DINO = {
    "Arch": {"name": "ppssl.DINOVisionTransformer", **VIT},
    "Task": {
        "name": "ppssl.DINO", "features": 16, "out_dim": 24, "head": {"hidden_dim": 20, "bottleneck_dim": 8},
        "student": {"drop_path_rate": 0.1}, "global_views": ["global"], "temperature": 0.06, "clip": 0.5,
        "momentum": {"name": "ppssl.LinspaceCosine", "base_lr": 0.9, "final": 1.0},
        "temperature_warmup": {"steps": 4}, "freeze_last_layer": {"steps": 3},
    },
    "Optimizer": {
        "name": "ppcore.optim.AdamW", "weight_decay": 0.04, "no_weight_decay": ["1d"],
        "lr": {"name": "ppssl.LinspaceCosine", "base_lr": 1e-3, "final": 1e-5, "warmup": {"steps": 2}},
        "weight_decay_schedule": {"name": "ppssl.LinspaceCosine", "base_lr": 0.04, "final": 0.4},
    },
    "Train": {
        "dataset": digits("train"), "batch_size": 8,
        "transforms": views(**{
            "global": {"count": 2, "transforms": crop(16, 0.4, 1.0)},
            "local": {"count": 2, "transforms": crop(8, 0.05, 0.4)},
        }),
    },
    "Metric": [KNN, PROBE],
}  # fmt: skip
SIMCLR = {
    "Arch": {"name": "ppvit.VisionTransformer", "num_classes": 0, "pool": "gap", **VIT},
    "Task": {"name": "ppssl.SimCLR", "features": 16, "out_dim": 8, "temperature": 0.5},
    "Optimizer": {
        "name": "ppcore.optim.LARS", "form": "rate_inside", "weight_decay": 1e-4, "no_weight_decay": ["1d"],
        "lr": {"name": "ppssl.SimCLRSchedule", "base_lr": 1.0, "warmup": {"steps": 2}},
    },
    "Train": {
        "dataset": digits("train"), "batch_size": 16,
        "transforms": views(view={"count": 2, "transforms": crop(16, 0.3, 1.0)}),
    },
    "Metric": KNN,
}  # fmt: skip
SEMI = {
    "Arch": {"name": "ppvit.VisionTransformer", "num_classes": 10, **VIT},
    "Optimizer": {
        "name": "ppcore.optim.Momentum", "nesterov": True, "weight_decay": 5e-4, "no_weight_decay": ["1d"],
        "lr": {"name": "ppssl.SevenSixteenths", "base_lr": 0.03},
    },
    "EMA": {"decay": 0.9},
    "Beside": {
        "labelled": {
            "dataset": {
                "name": "ppcore.data.Repeated", "times": 4,
                "dataset": {"name": "ppcore.data.FewLabelled", "dataset": digits("train"), "per_class": 1},
            },
            "transforms": crop(16, 0.7, 1.0), "batch_size": 12,
        }
    },
}  # fmt: skip
FIXMATCH = {
    **SEMI,
    "Task": {"name": "ppssl.FixMatch", "threshold": 0.11},
    "Train": {
        "dataset": digits("train"), "batch_size": 24,
        "transforms": views(weak={"transforms": crop(16, 0.9, 1.0)}, strong={"transforms": crop(16, 0.3, 0.6)}),
    },
}  # fmt: skip
PSEUDO = {
    **SEMI,
    "Task": {
        "name": "ppssl.PseudoLabel", "sigmoid": True,
        "weight": {"name": "ppssl.Ramp", "peak": 3.0, "start": {"steps": 1}, "end": {"steps": 6}},
    },
    "Train": {"dataset": digits("train"), "batch_size": 24, "transforms": crop(16, 0.7, 1.0)},
}  # fmt: skip
METHODS = {"dino": DINO, "simclr": SIMCLR, "fixmatch": FIXMATCH, "pseudo": PSEUDO}


def written(method: str, folder: Path) -> Path:
    """The configuration of a method as a file, whose run is in `folder/run`."""
    every = {f"{what}_every": {"steps": steps} for what, steps in (("eval", STEPS), ("save", 2), ("log", 1))}
    tree = {
        "Global": {
            "output_dir": str(folder / "run"), "duration": {"steps": STEPS}, **every, "visualdl": False,
            "device": "cpu", "sync_batch_norm": True,
        },
        "DataLoader": {
            "Eval": {"dataset": digits("test", 60), "transforms": {"normalize": NORMALIZE}, "batch_size": 30},
        },
    }  # fmt: skip
    for section, content in METHODS[method].items():
        (tree["DataLoader"] if section in ("Train", "Beside") else tree)[section] = content
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def train(file: Path, *options: str, **kwargs) -> str:
    """Runs tools/train.py; what it says."""
    given = [text for option in options for text in ("-o", option)]
    done = run_tool("train", "-c", file, *ALLOW, *given, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def records(folder: Path, kind: str) -> list[dict]:
    """A run's records of a kind."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]

"""Classified test images of one run for the report, with attention rollout where the model has attention."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcore.config import components
from ppcore.engine import build, predict
from ppcore.model import traits
from ppcore.reproduce.analyses import Subset, load_run
from ppcore.reproduce.quick import QuickRun


def choose(runs: Sequence[QuickRun]) -> Path | None:
    """The run to show: the last student; without one the last that nobody learned from; else a teacher."""
    if not runs:
        return None
    rank = [(run.uses, not run.used, number) for number, run in enumerate(runs)]
    return runs[max(rank)[-1]].folder


def restores(folder: Path | None) -> bool:
    """Whether a run's network gives images, not classes."""
    return folder is not None and traits(load_run(folder)[1]).makes_images


def pictures(folder: Path | None, count: int = 12) -> tuple[list[dict[str, Any]], str]:
    """Classifies test images of a run, evenly over the test set.

    Args:
        folder: the run's folder; None when there is none.
        count: how many images.

    Returns:
        The cards `write_report` takes, and what to say of them: whose they are, or why something is missing.
    """
    if folder is None:
        return [], "No images were classified: no training was run."
    settings, model, world = load_run(folder)
    part = build.section(settings, "Eval")
    images = components.build(part.dataset)
    count = min(count, len(images))
    chosen = [i * len(images) // count for i in range(count)]
    loader = build.eval_loader(part, Subset(images, chosen), world)
    rollout = traits(model).has_attention_maps
    shown = []
    for item in predict.predictions(model, loader, topk=3, names=images.classes, rollout=rollout):
        sample = images.load(chosen[item["index"]])
        top = [(entry["name"] or str(entry["class"]), entry["probability"]) for entry in item["topk"]]
        shown.append(
            {
                "image": sample["image"], "label": _name(images, sample["label"]), "pred": top[0][0],
                "prob": top[0][1], "topk": top, "attention": item.get("attention"),
            }
        )  # fmt: skip
    without = "" if rollout else f" Without attention rollout: {type(model).__name__} has no attention maps."
    return shown, f"Classified by the run {folder.name}.{without}"


def _name(images: Any, label: int) -> str:
    return images.classes[label] if images.classes else str(label)

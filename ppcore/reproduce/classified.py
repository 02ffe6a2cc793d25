"""Classified test images of one run for the report, with attention rollout where the model has attention."""

from typing import Any

from ppcore.config import InferSection
from ppcore.deploy.networks import eager
from ppcore.engine import build
from ppcore.engine.attention_pictures import attention_of
from ppcore.engine.classify_files import predictions
from ppcore.model import traits
from ppcore.report.content_types import ClassifiedImage
from ppcore.reproduce.finished_runs import FinishedRun, even_test_images

NO_RUN = "No images were classified: no training was run."


def is_classifier(run: FinishedRun) -> bool:
    """Whether the outputs of a run's network are classes."""
    classes = traits(run.model).num_classes or build.number_of_classes(run.settings)
    return bool(classes) and not traits(run.model).makes_images


def classify(run: FinishedRun, count: int = 12) -> tuple[list[ClassifiedImage], str]:
    """Classifies test images of a run, evenly over the test set.

    Args:
        run: a finished run.
        count: how many images.

    Returns:
        The images, and what to say of them: whose they are, or why something is missing.
    """
    name = type(run.model).__name__
    if not is_classifier(run):
        return [], f"No images were classified: {name}, the network of {run.folder.name}, gives no classes."
    loader = even_test_images(run.settings, count, run.world)
    rollout = traits(run.model).has_rollout
    run.model.eval()
    items = predictions(
        loader, eager(run.model, InferSection()), topk=3, names=loader.dataset.classes,
        attention=attention_of(run.model) if rollout else None,
    )  # fmt: skip
    without = "" if rollout else f" Without attention rollout: {name} has none."
    return [_classified(item, loader.dataset) for item in items], f"Classified by the run {run.folder.name}.{without}"


def _classified(item: dict[str, Any], images: Any) -> ClassifiedImage:
    sample = images.load(item["index"])
    top = [(entry["name"] or str(entry["class"]), entry["probability"]) for entry in item["topk"]]
    label = images.classes[sample["label"]] if images.classes else str(sample["label"])
    return ClassifiedImage(sample["image"], label, top[0][0], top[0][1], top, item.get("attention"))

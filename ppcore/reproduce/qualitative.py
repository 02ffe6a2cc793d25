"""Enhanced test images, beside the best other method and the reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.config import Config, components
from ppcore.engine import build, evaluate, evaluators
from ppcore.metrics.spec import MetricSpec
from ppcore.report.content_types import Baselines, ImageGrid, Panel, PanelRow
from ppcore.reproduce import baseline_methods
from ppcore.reproduce.finished_runs import FinishedRun, even_test_images

Method = tuple[str, Callable[[paddle.Tensor], paddle.Tensor]]


@paddle.no_grad()
def image_grid(run: FinishedRun, baselines: Baselines | None, count: int = 4) -> ImageGrid:
    """Enhances test images of a run: the input, the best other method, the run's network, the reference.

    Args:
        run: a finished run.
        baselines: other methods on its test images, if there are some.
        count: how many images, evenly over the test set.

    Returns:
        A row an image; each panel is captioned with its own value of the primary metric.
    """
    methods = [("input", lambda image: image), (type(run.model).__name__, run.model)]
    if baselines is not None:
        methods.insert(1, _best(run.settings, baselines))
    loader = even_test_images(run.settings, count, run.world, batch_size=1)
    rows = [
        PanelRow(evaluate.name_of(loader.dataset, int(batch["index"][0])), _panels(methods, batch, run.settings))
        for batch in loader
    ]
    return ImageGrid(run.folder.name, evaluate.method(build.section(run.settings, "Eval").dataset), rows)


def _best(settings: Config, baselines: Baselines) -> Method:
    """The best of the other methods, built."""
    spec = baselines.metrics[0]
    each = list(zip(baselines.results, baseline_methods.nodes(settings), strict=True))
    result, node = (max if spec.higher_is_better else min)(each, key=lambda item: item[0].numbers[spec.key])
    return result.method, components.build(node)


def _panels(methods: Sequence[Method], batch: dict[str, np.ndarray], settings: Config) -> list[Panel]:
    """One image, batch["image"] [1, C, H, W], by every method, and the reference.

    What is smaller than the reference, the input of a network that enlarges, is shown in blocks and has no number.
    """
    spec = evaluators.metric_specs(settings)[0]
    image = paddle.to_tensor(batch["image"])
    panels = []
    for name, network in methods:
        output = network(image)
        times = batch["target"].shape[2] // output.shape[2]
        value = _value(output, batch, spec, settings) if times == 1 else None
        caption = name if value is None else f"{name}: {value:.{spec.digits}f} {spec.unit}"
        panels.append(Panel(caption, as_bytes(output.numpy()[0]).repeat(times, 0).repeat(times, 1)))
    return [*panels, Panel("reference", as_bytes(batch["target"][0]))]


def _value(output: paddle.Tensor, batch: dict[str, Any], spec: MetricSpec, settings: Config) -> float | None:
    """A metric of one image as it is written; None where it is measured over a whole data set only."""
    for node in filter(evaluators.is_metric, settings.metrics()):
        metric = components.build(node)
        if spec.key in {known.key for known in metric.specs}:
            metric.update(output, batch)
            return spec.written(metric.compute()[spec.key])
    return None


def as_bytes(image: np.ndarray) -> np.ndarray:
    """float [3, H, W], or [1, H, W] of brightness alone, in 0..1 to uint8 [H, W, 3]."""
    colours = np.broadcast_to(image, (3, *image.shape[1:]))
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)

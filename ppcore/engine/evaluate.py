"""Evaluating a model: which weights, by which evaluators, and the numbers with their protocol."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import AMPSection, Config, Pretrained, components
from ppcore.deploy.networks import Exported, exported_classifier
from ppcore.ema import EMA
from ppcore.engine import build, distributed, evaluators
from ppcore.engine.distributed import World, in_turn
from ppcore.engine.evaluators import Evaluation, Evaluator, OverSplit
from ppcore.engine.logger import setup_logging
from ppcore.engine.precision import Precision
from ppcore.engine.run_folder import node_text, protocol
from ppcore.engine.trained import load_model
from ppcore.errors import ConfigError
from ppcore.metrics.spec import MetricSpec
from ppcore.model import traits
from ppcore.weights.checkpoints import NAMES


@paddle.no_grad()
def evaluate(model: nn.Layer, measures: Sequence[Evaluator], run: Evaluation) -> dict[str, Any]:
    """Measures a model.

    Args:
        model: put into evaluation mode for the duration.
        measures: what measures it.
        run: what they are given.

    Returns:
        The facts of the evaluation (`n` images, a mean `loss`), the metrics by key, `skipped` images and `seconds`.

    Raises:
        Interrupted: `run.stop` said so.
    """
    was_training, began = model.training, time.monotonic()
    model.eval()
    try:
        numbers = {spec.key: value for evaluator in measures for spec, value in evaluator.evaluate(model, run)}
    finally:
        if was_training:
            model.train()
    seen, skipped = (int(count) for count in run.world.sum(np.array([run.seen, run.skipped], np.float64)))
    return {"n": seen, **run.facts, **numbers, "skipped": skipped, "seconds": time.monotonic() - began}


def evaluate_weights(
    model: nn.Layer, ema: EMA | None, measures: Sequence[Evaluator], run: Evaluation
) -> dict[str, dict[str, Any]]:
    """Evaluates a model during training, and its moving average where there is one: `model`, `ema`."""

    def measure(name: str) -> dict[str, Any]:
        return evaluate(model, measures, replace(run, title=f"evaluate ({NAMES[name]})", facts={}))

    found = {"model": measure("model")}
    if ema is not None:
        with ema.applied():
            found["ema"] = measure("ema")
    return found


def headline_weights(config: Config, judged_by: MetricSpec, numbers: dict[str, dict[str, Any]]) -> str:
    """Which of the evaluated weights (`model`, `ema`) are the run's result: see `EMASection`."""
    if "ema" not in numbers:
        return "model"
    if config.EMA.headline != "auto":
        return config.EMA.headline
    return "ema" if judged_by.better(numbers["ema"][judged_by.key], numbers["model"][judged_by.key]) else "model"


def run(config: Config, weights: Pretrained | str | None = None) -> dict[str, Any]:
    """What `tools/eval.py` does: build, load, evaluate, name the protocol.

    Args:
        config: the configuration.
        weights: as for `load_model`.

    Returns:
        The numbers of `evaluate` with `weights` (the file), `weights_from` (why that one) and `protocol` (how it was
        measured), and under `baselines` those of the models of `Baselines`, each with its `method`, when there are some.
    """
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    setup_logging()
    measures = evaluators.of(config)
    if not measures:
        build.section(config, "Eval")  # says that it is missing
    model, used = load_model(config, weights)
    part = config.DataLoader.Eval
    images = build.dataset(part, traits(model).num_classes, used.classes, "DataLoader.Eval") if part else None
    precision = Precision.of_evaluation(config.AMP, world.device)
    compute = _exported(config, model, world, images, measures)
    result = {
        **evaluate(model, measures, Evaluation(config, world, precision, images, compute)),
        "weights": str(used),
        "weights_from": used.why,
        "protocol": protocol(config, _computed_in(precision, compute, measures)),
    }
    if not config.Baselines:
        return result
    name = type(model).__name__ if traits(model).needs_weights else method(config.Arch)
    return {"method": name, **result, "baselines": baselines(config)}


def _exported(
    config: Config, model: nn.Layer, world: World, images: Any, measures: Sequence[Evaluator]
) -> Exported | None:
    """A classifier's export, where `Infer.engine` wants one and metrics read its outputs; None where the model computes itself."""
    if images is None or traits(model).num_classes is None or traits(model).makes_images:
        return None
    if not any(isinstance(measure, OverSplit) for measure in measures):
        return None  # an evaluator of its own runs the network as it likes
    folder = Path(config.Global.output_dir)
    return in_turn(world, lambda: exported_classifier(model, config.Infer, world.device, folder, len(images)))


def _computed_in(precision: Precision, compute: Exported | None, measures: Sequence[Evaluator]) -> str:
    """For the protocol: metrics read what an export computes, where there is one, and other evaluators run the model itself."""
    own = precision.describe()
    if compute is None:
        return own
    mixed = not all(isinstance(measure, OverSplit) for measure in measures)
    return f"{compute.runs_on} (other evaluators: {own})" if mixed else compute.runs_on


def baselines(config: Config) -> list[dict[str, Any]]:
    """Evaluates the models of `Baselines`, but `Arch` itself, as it is evaluated: the numbers of `evaluate`, and `method`.

    Raises:
        ConfigError: one of them has weights to train.
    """
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    part = build.section(config, "Eval")
    precision, measures = Precision(AMPSection(), world.device), evaluators.of(config)
    found = []
    for node in (node for node in config.Baselines if node != config.Arch):
        model = components.build(node)
        if traits(model).needs_weights:
            raise ConfigError(f"Baselines: {node['name']} has weights: evaluate it by a configuration of its own")
        run = Evaluation(config, world, precision, build.dataset(part, None), title=method(node))
        found.append({"method": method(node), **evaluate(model, measures, run)})
    return found


def method(node: dict[str, Any]) -> str:
    """What a model without weights is called: its name without package, and its arguments."""
    return node_text(node).removesuffix("()")


def table(result: dict[str, Any], specs: Sequence[MetricSpec]) -> str:
    """The numbers of `run` for `Arch` and those beside it: one line a method under a heading, the best marked `*`."""
    rows = [result, *result["baselines"]]
    shown = [spec for spec in specs if spec.key in result]
    cells = [["method", *(unit.heading for unit in shown), "images", "s/image"]]
    for row in rows:
        numbers = []
        for unit in shown:
            best = not any(unit.better(other[unit.key], row[unit.key]) for other in rows)
            numbers.append(f"{unit.written(row[unit.key]):.{unit.digits}f}{'*' if best else ' '}")
        cells.append([row["method"], *numbers, f"{row['n']:,}", f"{row['seconds'] / row['n']:.2f}"])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    )

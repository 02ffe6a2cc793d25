"""Evaluating a model: which weights, by which evaluators, and the numbers with their protocol."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import AMPSection, Config, NetworkSection, Pretrained, components, for_network
from ppcore.deploy.networks import Exported, exported_classifier, exported_images
from ppcore.ema import EMA
from ppcore.engine import build, distributed, evaluators
from ppcore.engine.distributed import World, in_turn
from ppcore.engine.evaluators import Evaluation, Evaluator, OverSplit
from ppcore.engine.logger import log, setup_logging
from ppcore.engine.precision import Precision
from ppcore.engine.run_folder import described, node_text, protocol
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
        measured), under `images` those of single images where a metric keeps them, and under `baselines` and `networks` those
        of the models of these sections, each with its `method`, when there are some.
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
    check_networks(config)
    compute = exported(config, model, world, images, measures)
    measured = Evaluation(config, world, precision, images, compute)
    result = {
        **evaluate(model, measures, measured),
        "weights": str(used),
        "weights_from": used.why,
        "protocol": protocol(config, _computed_in(precision, compute, measures)),
        **_each(measured),
    }
    if not config.Baselines and not config.Networks:
        return result
    name = type(model).__name__ if traits(model).needs_weights else method(config.Arch)
    return {"method": name, **result, "baselines": baselines(config), "networks": networks(config)}


def exported(
    config: Config, model: nn.Layer, world: World, images: Any, measures: Sequence[Evaluator]
) -> Exported | None:
    """The model's export, where `Infer` wants one and metrics read its outputs; None where the model computes itself."""
    if images is None or not any(isinstance(measure, OverSplit) for measure in measures):
        return None  # an evaluator of its own runs the network as it likes
    folder = Path(config.Global.output_dir)
    if traits(model).makes_images:
        return in_turn(world, lambda: exported_images(model, config.Infer, folder))
    if traits(model).num_classes is None:
        return None
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
    found = []
    for node in (node for node in config.Baselines if node != config.Arch):
        model = components.build(node)
        if traits(model).needs_weights:
            raise ConfigError(f"Baselines: {node['name']} has weights: put it into Networks, which says where they are")
        found.append(_beside(config, model, method(node), Precision(AMPSection(), _world(config).device)))
    return found


def check_networks(config: Config) -> None:
    """Checks that every network of `Networks` gives the numbers of the table.

    Raises:
        ConfigError: its `set` gives it other numbers, two numbers of one have one name, or it has weights and names none.
    """
    wanted = {spec.key for spec in evaluators.metric_specs(config)}
    for number, item in enumerate(config.Networks):
        found = {spec.key for spec in evaluators.metric_specs(for_network(config, number))} if item.set else wanted
        if found != wanted:
            raise ConfigError(
                f"Networks.{number}.set: its metrics give {', '.join(sorted(found))}, the table has {', '.join(sorted(wanted))}"
            )


def networks(config: Config) -> list[dict[str, Any]]:
    """Evaluates the networks of `Networks`: the numbers of `evaluate`, `method`, `published`, and `weights` (the file, where
    there is one); `protocol`, how it was measured, where it has some of its own.

    One whose weights are not there has `left_out`, which says so, and no numbers.
    """
    found = []
    for number, item in enumerate(config.Networks):
        about = {"method": item.method, "published": item.published}
        about |= {"weights": item.weights.path} if item.weights else {}
        if why := missing_weights(item):
            log.info("left out %s: %s", item.method, why)
            found.append({**about, "left_out": why})
        else:
            settings = for_network(config, number)
            precision = Precision.of_evaluation(config.AMP, _world(config).device)
            found.append({**_beside(settings, network(config, item), item.method, precision), **about})
            if item.set:
                measures = [node for node in settings.metrics() if evaluators.is_metric(node)]
                found[-1]["protocol"] = "; ".join(described(node) or node_text(node) for node in measures)
    return found


def missing_weights(item: NetworkSection) -> str | None:
    """Why a network of `Networks` cannot be evaluated; None where its weights are there."""
    if item.weights is None or Path(item.weights.path).exists():
        return None
    return f"there is no {item.weights.path}"


def network(config: Config, item: NetworkSection) -> nn.Layer:
    """A network of `Networks` with its weights.

    Raises:
        ConfigError: it has weights, and the section does not say where they are.
    """
    if item.weights is None:
        model = components.build(item.arch)
        if traits(model).needs_weights:
            raise ConfigError(f"Networks: {item.method}: {item.arch['name']} has weights: say where they are (weights)")
        return model
    model, _ = load_model(config.model_copy(update={"Arch": item.arch}), item.weights)
    return model


def _world(config: Config) -> World:
    return distributed.start(config.Global.device, tf32=config.Global.tf32)


def _beside(config: Config, model: nn.Layer, name: str, precision: Precision) -> dict[str, Any]:
    """Evaluates another model in the place of `Arch`; `runs_on` says what computed."""
    world, images = _world(config), build.dataset(build.section(config, "Eval"), None)
    measures = evaluators.of(config)
    compute = exported(config, model, world, images, measures)
    run = Evaluation(config, world, precision, images, compute, title=name)
    runs_on = _computed_in(precision, compute, measures)
    return {"method": name, **evaluate(model, measures, run), "runs_on": runs_on, **_each(run)}


def _each(run: Evaluation) -> dict[str, Any]:
    """`images`: the numbers of single images, with their files' names, where a metric keeps them."""
    if not run.each or run.world.size > 1:  # each process has seen a share
        return {}
    return {"images": [{"image": name_of(run.images, index), **run.each[index]} for index in sorted(run.each)]}


def name_of(images: Any, index: int) -> str:
    """The name of an image's file, without its suffix; its number where it is in no file."""
    path = images.load(index).get("path")
    return str(index) if path is None else Path(str(path)).stem


def method(node: dict[str, Any]) -> str:
    """What a model without weights is called: its name without package, and its arguments."""
    return node_text(node).removesuffix("()")

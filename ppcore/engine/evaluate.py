"""Evaluation: every image once, the same number whatever the batch size or process count."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore import components, units, weights
from ppcore.checkpoint import Checkpoints, weight_file
from ppcore.config import AMPSection, Config
from ppcore.ema import EMA
from ppcore.engine import build, distributed
from ppcore.engine.events import log, setup_logging
from ppcore.engine.precision import Precision
from ppcore.engine.runs import node_text, protocol
from ppcore.errors import ConfigError


@paddle.no_grad()
def evaluate(
    model: nn.Layer, loader: Any, metric: Any, world: distributed.World, precision: Precision, progress: str = ""
) -> dict[str, Any]:
    """Runs a model over a loader.

    Args:
        model: put into evaluation mode for the duration.
        loader: an `EvalLoader` of this process's share.
        metric: a fresh metric; its `sums` are added over processes.
        world: the processes.
        precision: AMP.
        progress: what to call this in the log every 20 s; empty for silence.

    Returns:
        The metric's numbers, `skipped` images and `seconds`.
    """
    was_training = model.training
    model.eval()
    begin = told = time.monotonic()
    try:
        for i, batch in enumerate(loader):
            metric.update(precision.forward(model, paddle.to_tensor(batch["image"])), batch)
            now = time.monotonic()
            if progress and world.is_main and now - told > 20:
                rate = (i + 1) / (now - begin)
                log.info("%s: batch %d/%d eta %.0f s", progress, i + 1, len(loader), (len(loader) - i - 1) / rate)
                told = now
    finally:
        if was_training:
            model.train()
    metric.sums = world.sum(metric.sums)
    skipped = int(world.sum(np.array([float(loader.skipped)]))[0])
    return {**metric.compute(), "skipped": skipped, "seconds": time.monotonic() - begin}


def evaluate_weights(
    config: Config, model: nn.Layer, ema: EMA | None, images: Any, world: distributed.World, precision: Precision
) -> dict[str, dict[str, Any]]:
    """Evaluates a model during training, and its moving average where there is one: `model`, `ema`."""

    def measure() -> dict[str, Any]:
        loader = build.eval_loader(config.DataLoader.Eval, images, world)
        return evaluate(model, loader, components.build(config.Metric), world, precision)

    found = {"model": measure()}
    if ema is not None:
        with ema.applied():
            found["ema"] = measure()
    return found


def run(config: Config, weights_path: str | None = None) -> dict[str, Any]:
    """What `tools/eval.py` does: build, load, evaluate `DataLoader.Eval`, name the protocol.

    Args:
        config: the configuration.
        weights_path: a run's checkpoint or weight file; by default `Global.pretrained`, else the
            best checkpoint of `Global.output_dir`.

    Returns:
        The numbers of `evaluate` with `weights` (the file) and `protocol` (how it was measured), and
        under `beside` those of the models of `Beside`, each with its `method`, when there are some.
    """
    world = distributed.start(config.Global.device)
    setup_logging()
    part = build.section(config, "Eval")
    model, used = load_model(config, weights_path)
    images = build.dataset(part, getattr(model, "num_classes", None))
    loader = build.eval_loader(part, images, world)
    precision = Precision(config.AMP if config.AMP.level == "O1" else AMPSection(), world.device)
    result = evaluate(model, loader, components.build(config.Metric), world, precision, progress="evaluate")
    result = {**result, "weights": used, "protocol": protocol(config)}
    if not config.Beside:
        return result
    name = type(model).__name__ if has_weights(model) else method(config.Arch)
    return {"method": name, **result, "beside": beside(config)}


def beside(config: Config) -> list[dict[str, Any]]:
    """Evaluates the models of `Beside`, but `Arch` itself, as it is evaluated: the numbers of `evaluate`, and `method`.

    Raises:
        ConfigError: one of them has weights to train.
    """
    world = distributed.start(config.Global.device)
    part = build.section(config, "Eval")
    precision = Precision(AMPSection(), world.device)
    found = []
    for node in (node for node in config.Beside if node != config.Arch):
        model = components.build(node)
        if has_weights(model):
            raise ConfigError(f"Beside: {node['name']} has weights: evaluate it by a configuration of its own")
        images = build.dataset(part, None)
        loader = build.eval_loader(part, images, world)
        numbers = evaluate(model, loader, components.build(config.Metric), world, precision, progress=method(node))
        found.append({"method": method(node), **numbers})
    return found


def method(node: dict[str, Any]) -> str:
    """What a model without weights is called: its name without package, and its arguments."""
    return node_text(node).removesuffix("()")


def table(result: dict[str, Any]) -> str:
    """The numbers of `run` for `Arch` and those beside it: one line a method under a heading, the best marked `*`."""
    rows = [result, *result["beside"]]
    shown = units.present(rows)
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


def has_weights(model: nn.Layer) -> bool:
    """Whether a model has weights to load; one without, such as a classical method, says `needs_weights = False`."""
    return getattr(model, "needs_weights", True)


def load_model(config: Config, weights_path: str | None) -> tuple[nn.Layer, str]:
    """The model with its trained weights, and where they came from.

    Args:
        config: the configuration.
        weights_path: a weight file, a `step_N` folder or a run's folder. By default
            `Global.pretrained`, else the best checkpoint of `Global.output_dir`, else its latest.
            A model without weights takes none and gives `none`.

    Raises:
        ConfigError: no weights are named and the run's folder holds none.
    """
    if weights_path is None and config.Global.pretrained is not None:
        return build.model(config), config.Global.pretrained.path
    model = components.build(config.Arch)
    if not has_weights(model):
        if weights_path is not None:
            raise ConfigError(f"{config.Arch['name']} has no weights: leave out --weights {weights_path}")
        return model, "none"
    if weights_path is None:
        checkpoints = Checkpoints(Path(config.Global.output_dir))
        found = checkpoints.pointed("best") or checkpoints.pointed("latest")
        if found is None:
            raise ConfigError(
                f"no weights to use: {config.Global.output_dir} has no checkpoint; "
                "train first, pass --weights FILE or set Global.pretrained.path"
            )
        weights_path = str(found)
    used = weight_file(weights_path)
    weights.load(model, used)
    return model, str(used)

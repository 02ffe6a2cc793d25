"""Evaluation: every image once, the same number whatever the batch size or process count."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore import weights
from ppcore.config import AMPSection, Config, components
from ppcore.ema import EMA
from ppcore.engine import build, distributed
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import clock, log, setup_logging
from ppcore.engine.pace import Pace
from ppcore.engine.precision import Precision
from ppcore.engine.run_folder import node_text, protocol
from ppcore.errors import ConfigError
from ppcore.metrics.spec import MetricSpec
from ppcore.model import traits
from ppcore.weights.checkpoints import NAMES, Checkpoints, find_weights, read_state


@paddle.no_grad()
def evaluate(
    model: nn.Layer,
    loader: Any,
    metric: Any,
    world: distributed.World,
    precision: Precision,
    progress: str = "evaluate",
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Runs a model over a loader.

    Args:
        model: put into evaluation mode for the duration.
        loader: an `EvalLoader` of this process's share.
        metric: a fresh metric; its `sums` are added over processes.
        world: the processes.
        precision: AMP.
        progress: what to call this in the log, after 2 s and then every 5 s.
        stop: asked after every batch; once it says so, evaluation ends.

    Returns:
        The metric's numbers, `skipped` images and `seconds`.

    Raises:
        Interrupted: `stop` said so.
    """
    was_training = model.training
    model.eval()
    pace = Pace(0, len(loader))
    try:
        for batch in loader:
            check_input(model, batch["image"], "Eval")
            metric.update(precision.forward(model, paddle.to_tensor(batch["image"])), batch)
            pace.add(len(batch["image"]) * world.size)
            if pace.left is not None and pace.due() and world.is_main:
                log.info(
                    "%s: batch %d/%d %.1f images/s eta %s",
                    progress,
                    pace.step,
                    pace.total,
                    pace.rate,
                    clock(math.ceil(pace.left)),
                )
            if stop():
                raise Interrupted
    finally:
        if was_training:
            model.train()
    metric.sums = world.sum(metric.sums)
    skipped = int(world.sum(np.array([float(loader.skipped)]))[0])
    return {**metric.compute(), "skipped": skipped, "seconds": pace.seconds}


class Interrupted(Exception):
    """An evaluation was stopped; it has no result."""


def evaluate_weights(
    config: Config,
    model: nn.Layer,
    ema: EMA | None,
    images: Any,
    world: distributed.World,
    precision: Precision,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, Any]]:
    """Evaluates a model during training, and its moving average where there is one: `model`, `ema`."""

    def measure(name: str) -> dict[str, Any]:
        loader = build.eval_loader(config.DataLoader.Eval, images, world)
        metric = components.build(config.Metric)
        return evaluate(model, loader, metric, world, precision, f"evaluate ({NAMES[name]})", stop)

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


def run(config: Config, weights_path: str | None = None, source: str | None = None) -> dict[str, Any]:
    """What `tools/eval.py` does: build, load, evaluate `DataLoader.Eval`, name the protocol.

    Args:
        config: the configuration.
        weights_path: as for `load_model`.
        source: as for `load_model`.

    Returns:
        The numbers of `evaluate` with `weights` (the file), `weights_from` (why that one) and `protocol` (how it was
        measured), and
        under `beside` those of the models of `Beside`, each with its `method`, when there are some.
    """
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    setup_logging()
    part = build.section(config, "Eval")
    model, used = load_model(config, weights_path, source)
    images = build.dataset(part, traits(model).num_classes, used.classes, "DataLoader.Eval")
    loader = build.eval_loader(part, images, world)
    precision = Precision.of_evaluation(config.AMP, world.device)
    result = evaluate(model, loader, components.build(config.Metric), world, precision, progress="evaluate")
    result = {
        **result,
        "weights": str(used),
        "weights_from": used.why,
        "protocol": protocol(config, precision.describe()),
    }
    if not config.Beside:
        return result
    name = type(model).__name__ if has_weights(model) else method(config.Arch)
    return {"method": name, **result, "beside": beside(config)}


def beside(config: Config) -> list[dict[str, Any]]:
    """Evaluates the models of `Beside`, but `Arch` itself, as it is evaluated: the numbers of `evaluate`, and `method`.

    Raises:
        ConfigError: one of them has weights to train.
    """
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
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


def table(result: dict[str, Any], specs: Sequence[MetricSpec]) -> str:
    """The numbers of `run` for `Arch` and those beside it: one line a method under a heading, the best marked `*`."""
    rows = [result, *result["beside"]]
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


def has_weights(model: nn.Layer) -> bool:
    """Whether a model has weights to load; one without, such as a classical method, says `needs_weights = False`."""
    return traits(model).needs_weights


@dataclass(frozen=True)
class Used:
    """The weights in use; as text, their file (`none` for a model without weights).

    Attributes:
        file: the weight file.
        why: why it is the one, in words.
        classes: names of the classes it was trained on, if its run recorded them.
    """

    file: Path | None
    why: str
    classes: list[str] | None = None

    def __str__(self) -> str:
        return "none" if self.file is None else str(self.file)


def load_model(config: Config, weights_path: str | None, source: str | None = None) -> tuple[nn.Layer, Used]:
    """The model with its trained weights, and where they came from, which the log says.

    Args:
        config: the configuration.
        weights_path: a weight file, a `step_N` folder or a run's folder (see `find_weights`). By default the
            best checkpoint of `Global.output_dir`, else its latest, else `Global.pretrained`.
            A model without weights takes none.
        source: layout of the file named by `weights_path`, such as timm; None for one of our own.

    Raises:
        ConfigError: no weights are named and the run's folder holds none.
    """
    if source is not None and weights_path is None:
        raise ConfigError(f"--source {source} is the layout of the file that --weights names: give both")
    model = components.build(config.Arch)
    if not has_weights(model):
        if weights_path is not None:
            raise ConfigError(f"{config.Arch['name']} has no weights: leave out --weights {weights_path}")
        return model, Used(None, "it has no weights")
    run_folder, start = Path(config.Global.output_dir), config.Global.pretrained
    if weights_path is None and Checkpoints(run_folder).pointed("latest") is None:
        if start is None:
            raise ConfigError(
                f"no weights to use: {run_folder} has no checkpoint; "
                "train first, pass --weights FILE or set Global.pretrained.path"
            )
        file, why = find_weights(start.path)
        used = Used(file, f"Global.pretrained, as {run_folder} holds no run; {why}", _classes(file))
        log.info("weights %s (%s)", used, used.why)
        build.load_pretrained(model, config)
        return model, used
    file, why = find_weights(weights_path if weights_path is not None else run_folder)
    used = Used(file, why, _classes(file))
    log.info("weights %s (%s)", used, used.why)
    weights.load(model, file, source=source)
    return model, used


def _classes(file: Path) -> list[str] | None:
    """The class names that a checkpoint's run recorded."""
    return read_state(file.parent).get("classes") if (file.parent / "state.json").is_file() else None

"""What a restoration network's report shows beside its numbers: other methods, enhanced images, the paper's figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppcore import config
from ppcore.config import Config, components, roles
from ppcore.engine import build, distributed, evaluate
from ppcore.engine.logger import log
from ppcore.engine.run_folder import protocol
from ppcore.report import metric_specs
from ppcore.report.published import PaperTables
from ppcore.reproduce.analyses import Subset, load_run
from ppcore.reproduce.quick import QuickRun

PAIRS = 16  # test pairs that a figure measures


def methods(runs: Sequence[QuickRun]) -> list[dict[str, Any]]:
    """Evaluates the models of `Baselines` on the test images of each quick config, once for all its seeds.

    Returns:
        One dict a config that has such models: `config`, `run` (of the first seed), `protocol` and `rows` as
        `ppcore.engine.evaluate.beside` gives them.
    """
    found = []
    for run in _first_seeds(runs):
        settings = config.load(run.folder / "config.yaml")
        if settings.Baselines:
            log.info("%d other methods on the test images of %s", len(settings.Baselines), run.config)
            rows = evaluate.beside(settings)
            measured = protocol(settings, "float32")
            found.append({"config": run.config, "run": run.folder.name, "protocol": measured, "rows": rows})
    return found


def figures(paper: PaperTables, runs: Sequence[QuickRun]) -> list[dict[str, Any]]:
    """Draws the paper's figures on test pairs of their quick configs.

    Returns:
        One dict a figure and config: `figure`, `config`, `run`, `rows` of panels and `text` as `draw` gives them.
    """
    drawn = []
    for figure in paper.figures_drawn:
        draw = components.resolve(figure.draw, "figures_drawn", roles.FIGURE)
        for run in _first_seeds(runs):
            if run.config in figure.quick:
                settings = config.load(run.folder / "config.yaml")
                about = {"figure": figure.id, "config": run.config, "run": run.folder.name}
                drawn.append({**about, **draw(test_pairs(settings))})
    return drawn


def test_pairs(settings: Config) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first test pairs (image, target), float32 [H, W, 3], up to `PAIRS`."""
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    part = build.section(settings, "Eval")
    images = build.dataset(part, None)
    loader = build.eval_loader(part, Subset(images, range(min(PAIRS, len(images)))), world)
    found = [(image, target) for batch in loader for image, target in zip(batch["image"], batch["target"], strict=True)]
    return [(image.transpose(1, 2, 0), target.transpose(1, 2, 0)) for image, target in found]


def pictures(folders: Sequence[Path], beside: Sequence[dict[str, Any]], count: int = 4) -> list[dict[str, Any]]:
    """Enhances test images of some runs: the input, the best other method, the run's network, the reference.

    Args:
        folders: the runs' folders.
        beside: of `methods`.
        count: how many images of each run, evenly over its test set.

    Returns:
        One dict a run: `run`, `data` (its test set) and `rows` of panels, each captioned with its own figure.
    """
    best = {item["run"]: item["rows"] for item in beside}
    return [_enhanced(folder, best.get(folder.name, []), count) for folder in folders]


@paddle.no_grad()
def _enhanced(folder: Path, others: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    settings, model, world = load_run(folder)
    part = build.section(settings, "Eval")
    images = build.dataset(part, None)
    count = min(count, len(images))
    chosen = [i * len(images) // count for i in range(count)]
    loader = build.eval_loader(part, Subset(images, chosen), world)
    unit = metric_specs.of(build.best_metric(settings))
    networks = [(type(model).__name__, model)]
    if others:
        name = max(others, key=lambda row: row[unit.key] * (1 if unit.higher_is_better else -1))["method"]
        node = next(node for node in settings.Baselines if evaluate.method(node) == name)
        networks.insert(0, (name, components.build(node)))
    rows = []
    for index, batch in zip(chosen, loader, strict=True):
        given = paddle.to_tensor(batch["image"])
        outputs = [("input", given), *((name, network(given)) for name, network in networks)]
        panels = []
        for name, output in outputs:
            metric = components.build(settings.Metric)
            metric.update(output, batch)
            value = unit.written(metric.compute()[unit.key])
            panels.append(
                {"caption": f"{name}: {value:.{unit.digits}f} {unit.unit}", "image": _bytes(output.numpy()[0])}
            )
        panels.append({"caption": "reference", "image": _bytes(batch["target"][0])})
        rows.append({"label": Path(str(images.load(index)["path"])).stem, "panels": panels})
    return {"run": folder.name, "data": evaluate.method(part.dataset), "rows": rows}


def _bytes(image: np.ndarray) -> np.ndarray:
    """float [3, H, W] in 0..1 to uint8 [H, W, 3]."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _first_seeds(runs: Sequence[QuickRun]) -> list[QuickRun]:
    return list({run.config: run for run in reversed(runs)}.values())[::-1]

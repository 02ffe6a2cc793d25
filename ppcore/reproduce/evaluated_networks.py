"""Networks that others trained, evaluated by the protocols of published figures: a paper's own row with its authors' weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import config
from ppcore.config import Config, components
from ppcore.engine import build, distributed, evaluate, evaluators
from ppcore.engine.distributed import World
from ppcore.engine.logger import log
from ppcore.engine.run_folder import node_text
from ppcore.errors import ConfigError
from ppcore.report import FidelityRow
from ppcore.report.content_types import EvaluatedMethod, EvaluatedNetworks, Panel, PanelRow, ProtocolColumns
from ppcore.report.evaluations import EvaluationItem
from ppcore.report.protocol_tables import protocol_tables
from ppcore.report.published import PaperTables
from ppcore.reproduce.finished_runs import Subset
from ppcore.reproduce.paper_page import PaperPage
from ppcore.reproduce.qualitative import as_bytes
from ppcore.reproduce.quick import missing_data

_SIDE_BY_SIDE = 4  # pictures


def check(page: PaperPage) -> None:
    """Checks what evaluations name in their configurations, before anything is computed.

    Raises:
        ConfigError: a configuration is wrong, has no such method or gives no such number.
    """
    for item in page.tables.evaluations:
        settings = config.load(page.root / item.config)
        evaluate.check_networks(settings)
        known = {network.method for network in settings.Networks}
        known |= {evaluate.method(node) for node in (settings.Arch, *settings.Baselines)}
        keys = {spec.key for spec in evaluators.metric_specs(settings)}
        for figure in item.figures:
            if figure.method not in known or figure.metric not in keys:
                raise ConfigError(f"evaluations: {item.config} gives no {figure.metric} of '{figure.method}'")


def measure(page: PaperPage, device: str) -> list[EvaluatedNetworks]:
    """Evaluates every configuration of the page's `evaluations` whose data is here; the others say what is missing."""
    return [_measured(page, item, device) for item in page.tables.evaluations]


def _measured(page: PaperPage, item: EvaluationItem, device: str) -> EvaluatedNetworks:
    for need in item.needs:
        if why := missing_data(need):
            log.info("not evaluated %s: %s", item.config, why)
            return EvaluatedNetworks(item.config, item.title, missing=why)
    log.info("others' weights by %s", item.config)
    settings = config.load(page.root / item.config, [f"Global.device={device}"])
    return evaluated(settings, item.config, item.title, item.picture)


def evaluated(settings: Config, name: str, title: str, picture: int | None = 0) -> EvaluatedNetworks:
    """Evaluates `Arch`, `Baselines` and `Networks` of a configuration for a report.

    Args:
        settings: the configuration.
        name: of it.
        title: of the table.
        picture: number of the test image that every method is shown by; None for none.
    """
    result = evaluate.run(settings)
    rows = [{**result, "protocol": ""}, *result.get("baselines", ()), *result.get("networks", ())]
    return EvaluatedNetworks(
        name,
        title,
        data=f"{node_text(settings.DataLoader.Eval.dataset)}, {result['n']} images",
        protocols=columns(settings),
        methods=[_method(row, settings) for row in rows],
        pictures=[] if picture is None else _pictures(settings, picture),
    )


def columns(settings: Config) -> list[ProtocolColumns]:
    """What the metrics of a configuration give, by what they call their protocols."""
    metrics = [components.build(node) for node in settings.metrics() if evaluators.is_metric(node)]
    found = []
    for metric in metrics:
        first = metric.specs[0].name
        found.append(ProtocolColumns(first.partition(" ")[2] or "protocol", metric.describe() or first, metric.specs))
    return found


def _method(row: Mapping[str, Any], settings: Config) -> EvaluatedMethod:
    about = {"published": row.get("published", ""), "trained": row.get("weights", "none") != "none"}
    if "left_out" in row:
        return EvaluatedMethod(row["method"], {}, left_out=row["left_out"], **about)
    keys = [spec.key for spec in evaluators.metric_specs(settings)]
    return EvaluatedMethod(
        row.get("method", settings.Arch["name"]),
        {key: row[key] for key in keys},
        row["n"],
        row["seconds"],
        row.get("runs_on", ""),
        protocol=row.get("protocol", ""),
        **about,
    )


def _models(settings: Config) -> Iterator[tuple[str, Config, paddle.nn.Layer]]:
    """The methods of a configuration whose weights are here, each with the settings it is evaluated by, and its network."""
    for node in (settings.Arch, *(node for node in settings.Baselines if node != settings.Arch)):
        yield evaluate.method(node), settings, components.build(node)
    for number, item in enumerate(settings.Networks):
        if evaluate.missing_weights(item) is None:
            own = config.for_network(settings, number) if item.set else settings
            yield item.method, own, evaluate.network(settings, item)


@paddle.no_grad()
def _pictures(settings: Config, number: int) -> list[PanelRow]:
    """One test image by every method, some side by side, each with its first number."""
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    spec = evaluators.metric_specs(settings)[0]
    label, images, reference = _image(settings, number, world)
    panels = []
    for name, own, model in _models(settings):
        shown, seen, batch = (label, images, reference) if own is settings else _image(own, number, world)
        if shown != label:
            continue  # evaluated on other images
        model.eval()
        compute = evaluate.exported(own, model, world, seen, evaluators.of(own))
        output = paddle.to_tensor(compute(batch["image"])) if compute else model(paddle.to_tensor(batch["image"]))
        metric = components.build(next(node for node in own.metrics() if evaluators.is_metric(node)))
        metric.update(output, batch)
        value = spec.written(metric.compute()[spec.key])
        panels.append(Panel(f"{name}: {value:.{spec.digits}f} {spec.unit}".strip(), as_bytes(np.asarray(output)[0])))
    panels.append(Panel("reference", as_bytes(reference["target"][0])))
    return [PanelRow(label, panels[i : i + _SIDE_BY_SIDE]) for i in range(0, len(panels), _SIDE_BY_SIDE)]


def _image(settings: Config, number: int, world: World) -> tuple[str, Any, dict[str, np.ndarray]]:
    """(name of the image, data set, batch of the image alone) of a configuration's test image, the last where there are fewer."""
    part = build.section(settings, "Eval")
    images = build.dataset(part, None)
    number = min(number, len(images) - 1)
    loader = build.eval_loader(part.model_copy(update={"batch_size": 1}), Subset(images, [number]), world)
    return evaluate.name_of(images, number), images, next(iter(loader))


def fidelity_rows(paper: PaperTables, measured: Sequence[EvaluatedNetworks]) -> list[FidelityRow]:
    """Level 5: a row a published figure, passed where ours is equal to its last digit."""
    rows = []
    for table in protocol_tables(paper, measured):
        seconds = {row["method"]: row["seconds"] * row["n"] for row in table["rows"]}
        for one in table["reached"]:
            about = {
                "level": 5,
                "what": f"{one['method']}: {one['metric'].name if one['metric'] else one['kind']}",
                "reference": f"{one['published']:.{one['digits']}f}, {one['source']['title']}, {one['source']['where']}",
                "kind": one["metric"].unit if one["metric"] else "",
                "tolerance": "the last digit",
            }
            if one["ours"] is None:
                why = table["missing"] or "; ".join(f"{row['method']}: {row['why']}" for row in table["left_out"])
                rows.append(FidelityRow(**about, passed=None, note=why or "not evaluated"))
            else:
                ours = f"{one['ours']:.{one['digits'] + 1}f}"
                took = seconds[one["method"]]
                rows.append(FidelityRow(**about, measured=ours, passed=one["equal"], seconds=took, note=one["by"]))
    return rows

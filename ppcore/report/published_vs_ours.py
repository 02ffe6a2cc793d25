"""Setting our runs beside published figures, only where both are the same measurement."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppcore.report.formats import decimals
from ppcore.report.published import Figure, PaperTables
from ppcore.report.run_data import Run


def measured_on(run: Run, paper: PaperTables) -> str | None:
    """Returns the key of the published data set a run was evaluated on, or None.

    The loader, the number of test images, the number of classes and, where the data set names some, the metric's
    conventions and settings of the training must all be the data set's: a sample of ImageNet, or a smaller test split,
    is another measurement and gets None.
    """
    result = run.result
    if result is None or result.get("skipped"):
        return None
    loader = ((run.config.get("DataLoader") or {}).get("Eval") or {}).get("dataset") or {}
    metrics = run.config.get("Metric") or {}
    metrics = metrics if isinstance(metrics, list) else [metrics]
    classes = (run.config.get("Arch") or {}).get("num_classes", 1000)
    for key, dataset in paper.datasets.items():
        same = any(keys.items() <= loader.items() for keys in dataset.loaders)
        same = same and any(dataset.metric.items() <= metric.items() for metric in metrics)
        same = same and all(_setting(run.config, path) == value for path, value in dataset.training.items())
        if same and result["n"] == dataset.test_images and dataset.classes in (None, classes):
            return key
    return None


def _setting(config: Any, path: str) -> Any:
    """What a configuration says at a key such as `Task.name`; None where it says nothing."""
    for part in path.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def same_measurements(runs: Sequence[Run], paper: PaperTables) -> list[dict]:
    """Returns one row for each (run, published figure) of the same model on the same test images; often none at all."""
    rows = []
    for run in runs:
        dataset = measured_on(run, paper)
        measured = {metric.key for metric in run.metrics}
        for figure in paper.figures():
            same = dataset is not None and figure.dataset == dataset and figure.builder == run.builder
            if same and figure.metric in measured and run.result.get(figure.metric) is not None:
                ours = paper.metric(figure.metric).written(run.result[figure.metric])
                rows.append(
                    {
                        **_published(figure, paper),
                        "run": run.name,
                        "ours": ours,
                        "difference": ours - figure.value,
                        "started_from": (run.config.get("Global") or {}).get("pretrained") or "random weights",
                    }
                )
    return rows


def _published(figure: Figure, paper: PaperTables) -> dict:
    """A published figure as plain values."""
    return {
        "table": figure.table.id,
        "model": figure.model,
        "builder": figure.builder,
        "dataset": paper.datasets[figure.dataset].title if figure.dataset else None,
        "group": figure.group,
        "metric": paper.metric(figure.metric),
        "published": figure.value,
        "protocol": figure.table.protocol,
        "source": paper.cite(figure.table.source),
    }


def at_a_glance(runs: Sequence[Run], paper: PaperTables) -> dict:
    """Returns one row a builder for the paper's primary data set: its primary metric by source, and ours or None.

    `columns` name the table and the group (pre-training or release), `notes` the protocol of each table; `ours` is a
    list, one entry a run that qualifies.
    """
    metric = paper.metric()
    figures = [
        figure
        for figure in paper.figures()
        if figure.dataset == paper.primary_dataset
        and figure.builder
        and figure.metric == metric.key
        and figure.table.at_a_glance
    ]
    columns = list(dict.fromkeys((figure.table.id, figure.group) for figure in figures))
    tables = {figure.table.id: figure.table for figure in figures}
    cells = {(figure.builder, figure.table.id, figure.group): figure.value for figure in figures}
    ours: dict[str, list[dict]] = {}
    for run in runs:
        if measured_on(run, paper) == paper.primary_dataset and run.result.get(metric.key) is not None:
            value = metric.written(run.result[metric.key])
            ours.setdefault(run.builder, []).append({"run": run.name, "value": value})
    return {
        "dataset": paper.datasets[paper.primary_dataset].title,
        "test_images": paper.datasets[paper.primary_dataset].test_images,
        "metric": metric,
        "columns": [
            {
                "short": tables[table].short,
                "group": group,
                "note": list(tables).index(table) + 1,
                "digits": decimals(f.value for f in figures if (f.table.id, f.group) == (table, group)),
            }
            for table, group in columns
        ],
        "notes": [
            {"short": table.short, "protocol": table.protocol, "source": paper.cite(table.source)}
            for table in tables.values()
        ],
        "rows": [
            {
                "builder": builder,
                "published": [cells.get((builder, *column)) for column in columns],
                "ours": ours.get(builder, []),
            }
            for builder in (item.builder for item in paper.architecture)
            if any((builder, *column) in cells for column in columns)
        ],
        "measured": bool(ours),
    }

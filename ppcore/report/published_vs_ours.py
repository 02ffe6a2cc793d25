"""Setting our runs beside published figures, only where both are the same measurement."""

from collections.abc import Sequence

from ppcore.report import metric_specs
from ppcore.report.formats import decimals
from ppcore.report.published import Citation, Figure, PaperTables
from ppcore.report.run_data import Run
from ppcore.report.summary import unit_facts


def measured_on(run: Run, paper: PaperTables) -> str | None:
    """Returns the key of the published data set a run was evaluated on, or None.

    The loader, the number of test images, the number of classes and, where the data set names one, the metric's
    conventions must all be the data set's: a sample of ImageNet, or a smaller test split, is another measurement and
    gets None.
    """
    result = run.result
    if result is None or result.get("skipped"):
        return None
    loader = ((run.config.get("DataLoader") or {}).get("Eval") or {}).get("dataset") or {}
    metric = run.config.get("Metric") or {}
    classes = (run.config.get("Arch") or {}).get("num_classes", 1000) if run.headline.key == "top1" else None
    for key, dataset in paper.datasets.items():
        same = any(wanted.items() <= loader.items() for wanted in dataset.loaders)
        same = same and dataset.metric.items() <= metric.items()
        if same and (result["n"], classes) == (dataset.test_images, dataset.classes):
            return key
    return None


def beside(runs: Sequence[Run], paper: PaperTables) -> list[dict]:
    """Returns one row for each (run, published figure) of the same model on the same test images; often none at all."""
    rows = []
    for run in runs:
        dataset = measured_on(run, paper)
        for figure in paper.figures():
            same = dataset is not None and figure.dataset == dataset and figure.builder == run.builder
            if same and run.result.get(figure.metric) is not None:
                ours = metric_specs.of(figure.metric).written(run.result[figure.metric])
                rows.append(
                    {
                        **published(figure, paper),
                        "run": run.name,
                        "ours": ours,
                        "difference": ours - figure.value,
                        "started_from": (run.config.get("Global") or {}).get("pretrained") or "random weights",
                    }
                )
    return rows


def published(figure: Figure, paper: PaperTables) -> dict:
    """Returns a published figure as plain values."""
    return {
        "table": figure.table.id,
        "model": figure.model,
        "builder": figure.builder,
        "dataset": paper.datasets[figure.dataset].title if figure.dataset else None,
        "group": figure.group,
        "metric": figure.metric,
        "unit": unit_facts(metric_specs.of(figure.metric)),
        "published": figure.value,
        "protocol": figure.table.protocol,
        "source": cite(figure.table.source, paper),
    }


def cite(citation: Citation, paper: PaperTables) -> dict:
    """Returns a citation as title, place and address."""
    source = paper.sources[citation.ref]
    return {"title": source.title, "where": citation.where, "url": source.url, "note": source.note}


def at_a_glance(runs: Sequence[Run], paper: PaperTables) -> dict:
    """Returns one row a builder for the paper's headline data set: the headline metric by source, and ours or None.

    `columns` name the table and the group (pre-training or release), `notes` the protocol of each table; `ours` is a
    list, one entry a run that qualifies.
    """
    figures = [
        figure
        for figure in paper.figures()
        if figure.dataset == paper.headline_dataset
        and figure.builder
        and figure.metric == paper.headline_metric
        and figure.table.at_a_glance
    ]
    unit = metric_specs.of(paper.headline_metric)
    columns = list(dict.fromkeys((figure.table.id, figure.group) for figure in figures))
    notes = list(dict.fromkeys(table for table, _ in columns))
    cells = {(figure.builder, figure.table.id, figure.group): figure.value for figure in figures}
    tables = {table.id: table for table in paper.tables}
    ours: dict[str, list[dict]] = {}
    for run in runs:
        if measured_on(run, paper) == paper.headline_dataset:
            value = unit.written(run.result[unit.key])
            ours.setdefault(run.builder, []).append({"run": run.name, "value": value})
    order = [item.builder for item in paper.architecture]
    return {
        "dataset": paper.datasets[paper.headline_dataset].title,
        "test_images": paper.datasets[paper.headline_dataset].test_images,
        "metric": unit_facts(unit),
        "columns": [
            {
                "short": tables[table].short,
                "group": group,
                "note": notes.index(table) + 1,
                "digits": decimals(f.value for f in figures if (f.table.id, f.group) == (table, group)),
            }
            for table, group in columns
        ],
        "notes": [
            {
                "short": tables[table].short,
                "protocol": tables[table].protocol,
                "source": cite(tables[table].source, paper),
            }
            for table in notes
        ],
        "rows": [
            {
                "builder": builder,
                "published": [cells.get((builder, *column)) for column in columns],
                "ours": ours.get(builder, []),
            }
            for builder in order
            if any((builder, *column) in cells for column in columns)
        ],
        "measured": bool(ours),
    }

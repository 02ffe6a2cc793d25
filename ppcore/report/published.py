"""The published tables of a paper (`papers/*.yaml`), read and checked."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import pydantic
import yaml
from pydantic import Field

from ppcore.errors import ConfigError, nearest, reason
from ppcore.metrics.spec import MetricSpec
from ppcore.report.citation import Citation, Source, Strict
from ppcore.report.comparisons import Ablation, Analysis, DrawnFigure, Monitors, check_comparisons
from ppcore.report.evaluations import Cell, EvaluationItem, check_evaluations
from ppcore.report.quick_configs import Key, Quick, check_quick

Checked = TypeVar("Checked", bound=Strict)


class Paper(Strict):
    """The paper itself."""

    key: str
    short: str
    title: str
    authors: str
    venue: str
    arxiv: str | None = None
    url: str


class Metric(Strict):
    """What published numbers are: the fields of `MetricSpec`, of which the direction has no default."""

    key: str
    name: str
    title: str
    unit: str = ""
    factor: float = 1.0
    offset: float = 0.0
    digits: int = 4
    higher_is_better: bool

    @property
    def spec(self) -> MetricSpec:
        return MetricSpec(**self.model_dump())


class Dataset(Strict):
    """`loaders`: keys of a config's dataset that load it; with its size and classes they identify a run on it.

    `metric`, `training`: keys of its metric, and of all of it (`Task.name`), where published figures hold for these alone.
    """

    title: str
    test_images: int | None
    classes: int | None
    loaders: list[dict[str, str | int | float | bool]]
    metric: dict[str, str] = Field({})
    training: dict[Key, str | int | float | bool] = Field({})


class Builder(Strict):
    """A builder and the parameter count published for it."""

    builder: str
    params: int = Field(gt=0)
    source: Citation


class Column(Strict):
    """A column of a published table."""

    name: str
    builder: str | None = None
    dataset: str | None = None
    metric: str | None = None


class Row(Strict):
    """A row of a published table; None where the source gives no number. `protocol` and `source`: where they are its own."""

    name: str
    group: str = ""
    protocol: str = ""
    source: Citation | None = None
    builder: str | None = None
    dataset: str | None = None
    metric: str | None = None
    values: list[float | None]


class Table(Strict):
    """A published table."""

    id: str
    short: str
    title: str
    metric: str
    protocol: str = Field(min_length=1)
    source: Citation
    at_a_glance: bool
    columns: list[Column]
    rows: list[Row]


class PeerRow(Strict):
    """A model's accuracy as another suite publishes it, in percent."""

    model: str
    builder: str | None = None
    top1: float
    reference: float | None = None
    note: str = ""


class Peer(Strict):
    """What another suite publishes, and whether it trained or converted the weights."""

    suite: str
    how: Literal["converted", "trained"]
    protocol: str = Field(min_length=1)
    source: Citation
    rows: list[PeerRow]


class Level(Strict):
    """What a level of fidelity proves."""

    level: int = Field(ge=1, le=5)
    title: str
    proves: str


class Trained(Strict):
    """Weights somebody else trained: their author's figure (0..1) and the config that evaluates them."""

    what: str
    reference: str
    config: str
    metric: str
    expected: float
    tolerance: float
    needs: str


class Fidelity(Strict):
    """The fidelity checks: reference file and what computed it, the class that describes the model, others' weights."""

    reference: str
    computed_by: str = "torch and transformers"
    described_by: str
    levels: list[Level]
    trained: list[Trained] = Field([])


class Figure(NamedTuple):
    """One published number with everything needed to read it. `value` is in percent for accuracies."""

    table: Table
    group: str
    model: str
    builder: str | None
    dataset: str | None
    metric: str
    value: float


class PaperTables(Strict):
    """A whole `papers/*.yaml`. The first of its metrics is the primary one, which it is judged by."""

    paper: Paper
    sources: dict[str, Source]
    metrics: list[Metric] = Field(min_length=1)
    datasets: dict[str, Dataset]
    primary_dataset: str
    architecture: list[Builder] = Field([])
    tables: list[Table]
    peers: list[Peer] = Field([])
    quick: list[Quick] = Field([])
    fidelity: Fidelity | None = None
    ablations: list[Ablation] = Field([])
    analyses: list[Analysis] = Field([])
    figures_drawn: list[DrawnFigure] = Field([])
    monitors: Monitors = Field([])
    evaluations: list[EvaluationItem] = Field([])

    def metric(self, key: str | None = None) -> MetricSpec:
        """A metric by its key; without one the primary one."""
        return next(item.spec for item in self.metrics if key in (None, item.key))

    def quick_of(self, config: str) -> Quick:
        """A quick configuration by its path."""
        return next(item for item in self.quick if item.config == config)

    def cite(self, citation: Citation) -> dict[str, str | None]:
        """A citation as title, place, address and note."""
        source = self.sources[citation.ref]
        return {"title": source.title, "where": citation.where, "url": source.url, "note": source.note}

    def cell(self, cell: Cell) -> tuple[Table, Row, float]:
        """A number of a table, with both; the page has been checked to have it."""
        table = next(table for table in self.tables if table.id == cell.table)
        row = next(row for row in table.rows if row.name == cell.row)
        return table, row, row.values[[column.name for column in table.columns].index(cell.column)]

    def figures(self) -> list[Figure]:
        """Returns every published number, one by one; a row's key wins over its column's, that over the table's."""
        return [
            Figure(
                table,
                row.group,
                row.name if row.builder else column.name,
                row.builder or column.builder,
                row.dataset or column.dataset,
                row.metric or column.metric or table.metric,
                value,
            )
            for table in self.tables
            for row in table.rows
            for column, value in zip(table.columns, row.values, strict=True)
            if value is not None
        ]

    @pydantic.model_validator(mode="after")
    def _whole(self) -> "PaperTables":
        """Every table is rectangular, and every name is one that the file declares."""
        for table in self.tables:
            for row in table.rows:
                if len(row.values) != len(table.columns):
                    counts = f"{len(row.values)} values for {len(table.columns)} columns"
                    raise ValueError(f"table '{table.id}', row '{row.name}': {counts}")
        axes = [axis for table in self.tables for axis in [*table.rows, *table.columns]]
        cited = [*self.architecture, *self.tables, *self.peers, *self.ablations, *self.analyses, *self.figures_drawn]
        trained = self.fidelity.trained if self.fidelity else []
        measured = [*self.tables, *axes, *self.quick, *self.ablations, *trained]
        built = [*axes, *(row for peer in self.peers for row in peer.rows)]
        cited += [row for table in self.tables for row in table.rows if row.source]
        _check_declared("source", (item.source.ref for item in cited), "sources", self.sources)
        _check_declared("metric", (item.metric for item in measured), "metrics", [item.key for item in self.metrics])
        _check_declared("dataset", [self.primary_dataset, *(axis.dataset for axis in axes)], "datasets", self.datasets)
        builders = [item.builder for item in self.architecture]
        _check_declared("builder", (item.builder for item in built), "architecture", builders)
        keys = [item.key for item in self.metrics]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"metrics: the key '{twice[0]}' is used twice")
        values = {
            (table.id, row.name, column.name): value
            for table in self.tables
            for row in table.rows
            for column, value in zip(table.columns, row.values, strict=True)
        }
        check_evaluations(self.evaluations, values)
        check_quick(self.quick, values)
        check_comparisons(self.ablations, self.analyses, self.figures_drawn, self.quick)
        return self


def _check_declared(kind: str, names: Iterable[str | None], section: str, declared: Collection[str]) -> None:
    for name in names:
        if name is not None and name not in declared:
            raise ValueError(f"{kind} '{name}' is not in {section}{nearest(name, declared)}")


def load_paper(path: str | Path) -> PaperTables:
    """Reads and checks a `papers/*.yaml`.

    Raises:
        ConfigError: The file is missing, is not YAML, or has an unknown key, a wrong type or a dangling reference.
    """
    return read_checked(Path(path), PaperTables)


def read_checked(path: Path, model: type[Checked]) -> Checked:
    """A YAML file as a model.

    Raises:
        ConfigError: The file is missing, is not YAML, or does not fit the model; one line with the file and the key.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({reason(error)})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({reason(error)})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections such as {', '.join(list(model.model_fields)[:3])} at the top")
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        hint = nearest(str(first["loc"][-1]), model.model_fields) if first["type"] == "extra_forbidden" else ""
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where}: {what}{hint}") from None

"""The published tables of a paper (`papers/*.yaml`), read and checked."""

from pathlib import Path
from typing import Literal, NamedTuple

import pydantic
import yaml
from pydantic import Field

from ppcore.errors import ConfigError, nearest
from ppcore.report.citation import Citation, Source, Strict
from ppcore.report.comparisons import Claim, DrawnFigure, Finding, check_comparisons
from ppcore.report.recipes import Quick, Recipe, check_quick


class Paper(Strict):
    """The paper itself."""

    key: str
    short: str
    title: str
    authors: str
    venue: str
    arxiv: str | None = None
    url: str


class Dataset(Strict):
    """`loaders`: keys of a config's dataset that load it; with its size and classes they identify a run on it.

    `metric`: keys of a config's metric, where published figures have conventions of their own.
    """

    title: str
    test_images: int | None
    classes: int | None
    loaders: list[dict[str, str]]
    metric: dict[str, str] = Field({})


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
    """A row of a published table; None where the source gives no number."""

    name: str
    group: str = ""
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
    """The fidelity checks: reference file and what computed it, the function that measures, others' trained weights."""

    reference: str
    computed_by: str = "torch and transformers"
    measure: str
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
    """A whole `papers/*.yaml`."""

    paper: Paper
    sources: dict[str, Source]
    datasets: dict[str, Dataset]
    headline_dataset: str
    headline_metric: str = "top1"
    architecture: list[Builder]
    tables: list[Table]
    peers: list[Peer]
    quick: list[Quick]
    fidelity: Fidelity
    reproduce: list[Recipe] = Field([])
    claims: list[Claim] = Field([])
    findings: list[Finding] = Field([])
    figures_drawn: list[DrawnFigure] = Field([])

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
    def _references_exist(self) -> "PaperTables":
        cited = [*self.architecture, *self.tables, *self.peers, *self.claims, *self.findings, *self.figures_drawn]
        for ref in (item.source.ref for item in cited):
            if ref not in self.sources:
                raise ValueError(f"source '{ref}' is not in sources{nearest(ref, self.sources)}")
        used = {self.headline_dataset, *(axis.dataset for t in self.tables for axis in [*t.rows, *t.columns])}
        for name in used - {None, *self.datasets}:
            raise ValueError(f"dataset '{name}' is not in datasets{nearest(name, self.datasets)}")
        known = {item.builder for item in self.architecture}
        named = {axis.builder for t in self.tables for axis in [*t.rows, *t.columns]}
        named |= {row.builder for peer in self.peers for row in peer.rows}
        for name in named - {None, *known}:
            raise ValueError(f"builder '{name}' is not in architecture{nearest(name, known)}")
        values = {table.id: {value for row in table.rows for value in row.values} for table in self.tables}
        for recipe in self.reproduce:
            if recipe.published not in values.get(recipe.table, ()):
                raise ValueError(f"reproduce '{recipe.row}': {recipe.published} is not a number of '{recipe.table}'")
        for table in self.tables:
            for row in table.rows:
                if len(row.values) != len(table.columns):
                    counts = f"{len(row.values)} values for {len(table.columns)} columns"
                    raise ValueError(f"table '{table.id}', row '{row.name}': {counts}")
        check_quick(self.quick)
        check_comparisons(self.claims, self.findings, self.figures_drawn, self.quick)
        return self


def load_paper(path: str | Path) -> PaperTables:
    """Reads and checks a `papers/*.yaml`.

    Raises:
        ConfigError: The file is missing, is not YAML, or has an unknown key, a wrong type or a dangling reference.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections such as paper, tables, peers at the top")
    try:
        return PaperTables.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        hint = nearest(str(first["loc"][-1]), PaperTables.model_fields) if first["type"] == "extra_forbidden" else ""
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where}: {what}{hint}") from None

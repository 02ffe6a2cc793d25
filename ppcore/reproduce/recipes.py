"""`papers/<paper>_recipes.yaml`: how the rows of a paper's tables are trained.

A recipe names runs, each a list of configuration files, each over those before it, and what is set over them. A run that
starts from another names it, so that "384 px" follows "224 px"; a cross product is a grid of rows and columns. Every
run writes to a folder of its own name; one that bears its only file's name is that file as it stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from ppcore.errors import ConfigError, nearest
from ppcore.report.citation import Strict
from ppcore.report.published import PaperTables, read_checked
from ppcore.report.quick_configs import Key


class Training(Strict):
    """What a run trains: files, settings over them, the runs it needs.

    `start` is the run whose last weights it starts from, `uses` gives such weights to other keys
    (`Loss.teacher.weights`), `needs` is data or weights that are not part of the suite.
    """

    configs: list[str] = Field([])
    set: dict[Key, Any] = Field({})
    start: str | None = None
    uses: dict[Key, str] = Field({})
    needs: list[str] = Field([])

    def over(self, below: "Training") -> "Training":
        """Both together: files and needs after those below, settings and runs over them."""
        return Training(
            configs=[*below.configs, *self.configs],
            set={**below.set, **self.set},
            start=self.start or below.start,
            uses={**below.uses, **self.uses},
            needs=[*below.needs, *self.needs],
        )

    def named(self, **names: str) -> "Training":
        """With `{row}` and `{column}` filled in where other runs are named."""
        return self.model_copy(
            update={
                "start": self.start and self.start.format(**names),
                "uses": {key: run.format(**names) for key, run in self.uses.items()},
            }
        )


class Row(Strict):
    """A published number and the run that reproduces it."""

    published: float
    run: str


class Part(Training):
    """A row or column of a grid: its words in the row's name, its part of the run's, and what it adds."""

    name: str
    key: str


class GridRow(Part):
    """A row with the published number of each column; null where there is none."""

    published: list[float | None]


class Grid(Training):
    """Runs of every row with every column, or of every row: the grid's own files come first, then the column's, then the row's.

    `run` is the name of a cell's run, with `{row}` and `{column}` for their keys, which `start` and `uses` may have, too.
    """

    table: str
    run: str
    columns: list[Part] = Field([Part(name="", key="")])
    rows: list[GridRow]

    def cells(self) -> Iterator[tuple[str, float, str, Training]]:
        """(name, published number, run, what it trains) of every cell that has a number."""
        for row in self.rows:
            if len(row.published) != len(self.columns):
                counts = f"{len(row.published)} numbers for {len(self.columns)} columns"
                raise ValueError(f"table '{self.table}', row '{row.name}': {counts}")
            for column, published in zip(self.columns, row.published, strict=True):
                if published is not None:
                    names = {"row": row.key, "column": column.key}
                    training = row.over(column.over(self)).named(**names)
                    yield f"{row.name} {column.name}".strip(), published, self.run.format(**names), training


@dataclass(frozen=True)
class Step:
    """One training of a recipe: files, each over those before it, and `-o` texts."""

    configs: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """The trainings that reproduce one published number at full scale, in order, and what they need."""

    table: str
    row: str
    published: float
    needs: tuple[str, ...]
    steps: tuple[Step, ...]


class RecipeFile(Strict):
    """A whole `papers/*_recipes.yaml`; `output` is the folder of the runs' folders."""

    output: str
    runs: dict[str, Training]
    rows: dict[str, dict[str, Row]] = Field({})
    grids: list[Grid] = Field([])

    def recipes(self) -> list[Recipe]:
        """Every row.

        Raises:
            ValueError: a run that is not there or needs itself, or two of one name.
        """
        runs = dict(self.runs)
        rows = [
            (table, name, row.published, row.run) for table, named in self.rows.items() for name, row in named.items()
        ]
        for grid in self.grids:
            for name, published, run, training in grid.cells():
                if run in runs:
                    raise ValueError(f"table '{grid.table}': '{run}' is a run already")
                runs[run] = training
                rows.append((grid.table, name, published, run))
        for name in (name for name, training in runs.items() if not training.configs):
            raise ValueError(f"run '{name}' has no configs")
        return [self._recipe(runs, *row) for row in rows]

    def _recipe(self, runs: dict[str, Training], table: str, name: str, published: float, last: str) -> Recipe:
        order: list[str] = []
        self._before(last, runs, order, ())
        needs = tuple(dict.fromkeys(need for run in order for need in runs[run].needs))
        return Recipe(table, name, published, needs, tuple(self._step(run, runs[run]) for run in order))

    def _before(self, name: str, runs: dict[str, Training], order: list[str], waiting: tuple[str, ...]) -> None:
        """Adds a run to the order after those it needs."""
        if name not in runs:
            raise ValueError(f"no run '{name}'{nearest(name, runs)}")
        if name in waiting:
            raise ValueError(f"run '{name}' needs itself: {' -> '.join([*waiting, name])}")
        needed = [runs[name].start, *runs[name].uses.values()]
        for other in (run for run in needed if run is not None):
            self._before(other, runs, order, (*waiting, name))
        if name not in order:
            order.append(name)

    def _step(self, name: str, training: Training) -> Step:
        configs = tuple(training.configs)
        if not training.set and [Path(file).stem for file in configs] == [name]:
            return Step(configs, ())
        weights = {"Global.pretrained.path": training.start} if training.start else {}
        options = [f"{key}={_text(value)}" for key, value in training.set.items()]
        # The last weights of a run, not those its test images chose.
        options += [f"{key}={self.folder(run)}/checkpoints/latest" for key, run in {**weights, **training.uses}.items()]
        return Step(configs, (*options, f"Global.output_dir={self.folder(name)}"))

    def folder(self, run: str) -> str:
        """Where a run writes."""
        return f"{self.output}/{run}"


def _text(value: Any) -> str:
    """A value as `-o` takes it."""
    if isinstance(value, str):
        return value
    return (
        yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
        .removesuffix("\n...\n")
        .strip()
    )


def load_recipes(paper_file: Path, paper: PaperTables) -> list[Recipe]:
    """The recipes of the file beside a paper's own; none where there is no such file.

    Raises:
        ConfigError: the file cannot be read, or a recipe is wrong; the message names the file.
    """
    path = paper_file.with_name(f"{paper_file.stem}_recipes.yaml")
    if not path.exists():
        return []
    file = read_checked(path, RecipeFile)
    numbers = {table.id: {value for row in table.rows for value in row.values} for table in paper.tables}
    try:
        recipes = file.recipes()
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    except KeyError as error:
        raise ConfigError(f"{path}: {{{error.args[0]}}} is neither {{row}} nor {{column}}") from None
    for item in recipes:
        if item.published not in numbers.get(item.table, ()):
            raise ConfigError(f"{path}: '{item.row}': {item.published} is not a number of '{item.table}'")
    names = [(item.table, item.row) for item in recipes]
    for table, row in names:
        if names.count((table, row)) > 1:
            raise ConfigError(f"{path}: table '{table}': two rows are called '{row}'")
    return recipes


def recipe(recipes: list[Recipe], table: str | None, row: str | None) -> Recipe:
    """The full-scale recipe of a table's row.

    Raises:
        ConfigError: no such row; the message lists those there are.
    """
    rows = {item.row: item for item in recipes if table in (None, item.table)}
    if row in rows:
        return rows[row]
    if not rows:
        tables = sorted({item.table for item in recipes})
        raise ConfigError(
            f"--table {table}: no recipe for it{nearest(str(table), tables)}; tables: {', '.join(tables)}"
        )
    hint = nearest(row, rows) if row else ""
    raise ConfigError(f"--row {row or 'is missing'}{hint}; rows: {'; '.join(sorted(rows))}")

"""The quick trainings on small data that a `papers/*.yaml` names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from ppcore.errors import nearest
from ppcore.report.citation import Strict
from ppcore.report.evaluations import Cell


def _key(text: str) -> str:
    if not re.fullmatch(r"[A-Z]\w*|[A-Za-z_]\w*(\.\w+)+", text):  # a whole section, such as Loss, or a key in one
        raise ValueError(f"write a key as Section.key, not {text!r}")
    return text


def _option(text: str) -> str:
    key, found, _ = text.partition("=")
    if not found:
        raise ValueError(f"write an option as Section.key=value, not {text!r}")
    return f"{_key(key)}{text[len(key) :]}"


Key = Annotated[str, AfterValidator(_key)]
Option = Annotated[str, AfterValidator(_option)]  # as the tools take them after -o


class Quick(Strict):
    """What a quick config is expected to reach here; None until it has been measured. Accuracies in percent.

    `expected` is a number of `metric` (None: the paper's primary one); `note` says what a reader must know of the data.
    `needs` is a file or folder below PP_DATA_DIR without which it is left out, or several; `run_seeds` are trained each time, in
    `processes` processes on a CPU that has the cores, with `threads` threads each. `uses` fills options with the folder
    of another quick config's first seed, which is trained before: {Loss.teacher.weights: configs/quick/teacher.yaml}.
    `published` is the number of a table that the curve of the score is drawn beside.
    """

    config: str
    dataset: str
    needs: str | list[str] | None = None
    uses: dict[Key, str] = Field({})
    run_seeds: list[int] = Field([0], min_length=1)
    processes: int = Field(1, ge=1)
    threads: int | None = Field(None, ge=1)
    test_images: int | None = None
    metric: str | None = None
    expected: float | None = None
    spread: float | None = None
    seeds: int | None = None
    minutes: float | None = None
    published: Cell | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The config's file name without suffix, as its runs are called."""
        return Path(self.config).stem

    def run_name(self, seed: int) -> str:
        """Name of the folder of one seed's run."""
        return f"{self.name}_seed{seed}"

    def seed_for(self, seed: int) -> int:
        """The seed whose run those of `seed` of another config use."""
        return seed if seed in self.run_seeds else self.run_seeds[0]


def check_quick(items: list[Quick], values: Mapping[tuple[str, str, str], float | None]) -> None:
    """Checks what quick configs say of each other and of the tables.

    Args:
        items: the quick configs.
        values: of every (table, row, column).

    Raises:
        ValueError: two share a name (their runs would share a folder), `uses` names none that stands before, or `published`
            no number.
    """
    earlier: dict[str, str] = {}  # run name -> config
    for item in items:
        if item.name in earlier:
            raise ValueError(f"quick '{item.config}' and '{earlier[item.name]}' would train into the same folder")
        cell = item.published
        if cell and values.get((cell.table, cell.row, cell.column)) is None:
            where = f"table '{cell.table}', row '{cell.row}', column '{cell.column}'"
            raise ValueError(f"quick '{item.config}': published: {where}: no such number")
        for used in item.uses.values():
            if used not in earlier.values():
                hint = nearest(used, earlier.values())
                raise ValueError(f"quick '{item.config}' uses '{used}', which is not a quick config before it{hint}")
        earlier[item.name] = item.config


def check_named(configs: Iterable[str], items: list[Quick], where: str) -> None:
    """Checks that configs are quick configs.

    Raises:
        ValueError: one is not; the message begins with `where` and has the nearest.
    """
    known = [item.config for item in items]
    for config in configs:
        if config not in known:
            raise ValueError(f"{where}: '{config}' is not a quick config{nearest(config, known)}")

"""What a paper's page says of networks that somebody else trained: which configuration evaluates them, and what was published."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from ppcore.report.citation import Strict


class Cell(Strict):
    """A number of a published table, by the names of its row and column; `digits` where it ends in a 0 that YAML drops."""

    table: str
    row: str
    column: str
    digits: int | None = Field(None, ge=0)


class Reached(Cell):
    """A published number, and what should give it: the `metric`, by its recorded key, of a method of the configuration."""

    method: str
    metric: str


class Unexplained(Cell):
    """A published number that no protocol tried here gives; `metric` is the key of what it is, such as `psnr`."""

    metric: str


class EvaluationItem(Strict):
    """Others' weights, evaluated by published protocols.

    `config` names the methods (`Arch`, `Baselines`, `Networks`) and the metrics; `needs` are files or folders below
    PP_DATA_DIR without which nothing is evaluated; `picture` is the number of the test image that is shown by every method.
    """

    config: str
    title: str
    needs: list[str] = Field([])
    figures: list[Reached] = Field([])
    unexplained: list[Unexplained] = Field([])
    picture: int = Field(0, ge=0)
    note: str = ""


def check_evaluations(items: list[EvaluationItem], values: Mapping[tuple[str, str, str], float | None]) -> None:
    """Checks that evaluations name numbers that are there.

    Args:
        items: the evaluations.
        values: of every (table, row, column).

    Raises:
        ValueError: one does not.
    """
    for item in items:
        for cell in cells(item):
            where = f"evaluations: {item.config}: table '{cell.table}', row '{cell.row}', column '{cell.column}'"
            if values.get((cell.table, cell.row, cell.column)) is None:
                raise ValueError(f"{where}: no such number")


def cells(item: EvaluationItem) -> Iterator[Cell]:
    """All published numbers that an evaluation names."""
    yield from item.figures
    yield from item.unexplained


def digits_of(cell: Cell, value: float) -> int:
    """Decimals that a number was published with."""
    return cell.digits if cell.digits is not None else len(repr(float(value)).partition(".")[2])

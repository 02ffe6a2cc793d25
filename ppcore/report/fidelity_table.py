"""One measured comparison against a reference: a row of the report's fidelity table."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pydantic
from pydantic import Field

from ppcore.errors import ConfigError


class FidelityRow(pydantic.BaseModel):
    """`measured` against `tolerance` in the unit `kind`; `passed` None means not run, and `note` then says why."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
    level: int = Field(ge=1, le=5)
    what: str
    reference: str
    measured: float | int | str | None = None
    kind: str = ""
    tolerance: float | int | str | None = None
    passed: bool | None
    seconds: float | int | None = None
    note: str = ""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "FidelityRow":
        if self.passed is None and not self.note:
            raise ValueError("a row that was not run needs a note that says why")
        if self.passed is not None and self.measured is None:
            raise ValueError("a row that was run needs its measured value")
        return self


def check_rows(rows: Iterable[Mapping[str, object]], where: str = "fidelity") -> list[FidelityRow]:
    """Returns the rows, checked.

    Raises:
        ConfigError: A row lacks a field, has an unknown one, or claims a result without a measurement.
    """
    checked = []
    for number, row in enumerate(rows, 1):
        try:
            checked.append(FidelityRow.model_validate(row))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{where}: row {number}{': ' + field if field else ''}: {first['msg']}") from None
    return checked


def load_rows(path: str | Path) -> list[dict]:
    """Reads a JSON list of rows.

    Raises:
        ConfigError: The file is missing, is not JSON, or is not a list of objects.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON (line {error.lineno})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: expected a list of fidelity rows")
    return rows

"""The checks against a reference by level, as the report's table, and as the JSON they are left in."""

import json
from collections.abc import Sequence
from pathlib import Path

import pydantic

from ppcore.errors import ConfigError, reason
from ppcore.report.content_types import FidelityRow
from ppcore.report.published import PaperTables


def fidelity_table(rows: Sequence[FidelityRow], paper: PaperTables | None) -> dict:
    """Returns the rows by level with what each level proves, and how many passed, failed and were not run."""
    known = {level.level: level for level in (paper.fidelity.levels if paper and paper.fidelity else [])}
    levels = [
        {
            "level": number,
            "title": known[number].title if number in known else f"Level {number}",
            "proves": known[number].proves if number in known else "",
            "rows": [row.model_dump() for row in rows if row.level == number],
        }
        for number in sorted({row.level for row in rows} | set(known))
    ]
    return {
        "reference": paper.fidelity.reference if paper and paper.fidelity else None,
        "passed": sum(row.passed is True for row in rows),
        "failed": sum(row.passed is False for row in rows),
        "not_run": sum(row.passed is None for row in rows),
        "levels": levels if rows else [],
    }


def load_rows(path: str | Path) -> list[FidelityRow]:
    """Reads a JSON list of rows.

    Raises:
        ConfigError: The file is missing, is not JSON, or is not a list of objects; or a row lacks a field, has an
            unknown one, or claims a result without a measurement.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON (line {error.lineno})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({reason(error)})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: expected a list of fidelity rows")
    checked = []
    for number, row in enumerate(rows, 1):
        try:
            checked.append(FidelityRow.model_validate(row))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{path}: row {number}{': ' + field if field else ''}: {first['msg']}") from None
    return checked

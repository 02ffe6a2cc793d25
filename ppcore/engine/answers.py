"""What a classifier says of images: a line each on the terminal, and a file of JSON, JSON lines or CSV."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ppcore.errors import DataError, OutputError, reason
from ppcore.io import write_atomically, write_json

Format = Literal["json", "jsonl", "csv"]


def make_folder(folder: Path) -> None:
    """Makes the folder of results, before the work begins.

    Raises:
        DataError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Infer.output: {folder} cannot be made: {reason(error)}") from None
    if not os.access(folder, os.W_OK):
        raise DataError(f"Infer.output: {folder} cannot be written")


class Answers:
    """Records of images, said as they come and written when all are there.

    Args:
        folder: of `predictions.json`, `.jsonl` or `.csv`; made.
        format: which.
        says: whether each record is printed as it comes.

    Raises:
        DataError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, format: Format, says: bool = True):
        self.path, self.says = folder / f"predictions.{format}", says
        make_folder(folder)

    def add(self, record: dict[str, Any]) -> None:
        """Prints a record: file, class and probability."""
        if self.says:
            best = record["topk"][0]
            print(f"{shown(record['file'])}: {best['name'] or best['class']} {best['probability']:.4f}", flush=True)

    def write(self, records: Sequence[dict[str, Any]], **facts: Any) -> None:
        """Writes the file, whole or not at all.

        Args:
            records: `file` and `topk`, in order.
            facts: of all of them; JSON has them beside, JSON lines and CSV leave them out.

        Raises:
            DataError: it cannot be written.
        """
        try:
            if self.path.suffix == ".json":
                write_json(self.path, {**facts, "images": records})
                return
            text = _json_lines(records) if self.path.suffix == ".jsonl" else _table(records)
            write_atomically(self.path, lambda temp: temp.write_text(text, encoding="utf-8", newline=""))
        except (OutputError, OSError) as error:
            raise DataError(f"cannot write {self.path}: {reason(error)}") from None


def _json_lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _table(records: Sequence[dict[str, Any]]) -> str:
    """A row an image: its file, then class, name and probability of each place."""
    places = max((len(record["topk"]) for record in records), default=0)
    keys = ("class", "name", "probability")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"{key}_{place}" for place in range(1, places + 1) for key in keys)])
    for record in records:
        # Bytes of a name that are no UTF-8 are kept as Python shows them.
        file = record["file"].encode("utf-8", "backslashreplace").decode()
        writer.writerow([file, *(answer[key] for answer in record["topk"] for key in keys)])
    return text.getvalue()


def shown(text: Any) -> str:
    """Text for the terminal on one line: file names may hold line ends, or bytes that are no UTF-8."""
    return " ".join(str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace").splitlines())

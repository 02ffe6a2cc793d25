"""Which photographs are enhanced, and where each result goes: no two to one name, none over the user's files.

The output folder holds `enhanced.jsonl`, a line a result with its sha256. A file of that content may be
replaced by a later run; any other file that is in the way is the user's and stops the run before it starts.
"""

import glob
import json
import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from ppcore.data.images.find import IMAGE_SUFFIXES, files_matching, nothing_matches, walk_images
from ppcore.errors import ConfigError, DataError
from ppcore.io import sha256
from ppcore.photo.photo_io import FORMATS, photo_header

log = logging.getLogger("ppcore")

RECORD = "enhanced.jsonl"
# Photographs that this suite does not read: their being passed over in a folder is said.
_UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2")


class Job(NamedTuple):
    """A photograph, where its result goes, and its size (0 x 0 when its header is not readable)."""

    source: Path
    target: Path
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width


def plan(inputs: str | Sequence[str], output: Path) -> list[Job]:
    """The photographs that files, folders (searched through) and globs name, each once, with their targets.

    Names, and subfolders of a named folder, are kept. Where two results would get one name
    (equal names from two folders), the later ones are numbered: `photo_2.jpg`.

    Raises:
        ConfigError: the output folder is the folder of the input.
        DataError: an input matches nothing or cannot be searched, or a result would replace a file
            that no earlier run wrote.
    """
    jobs, taken, seen = [], set(), set()
    for source, below in _found([inputs] if isinstance(inputs, str) else inputs, output):
        if os.path.abspath(source) in seen:
            continue
        seen.add(os.path.abspath(source))
        header = photo_header(source)
        target = _free(output / _named(below, header), taken)
        jobs.append(Job(source, target, *(header[1:] if header else (0, 0))))
    protect(jobs, output)
    return jobs


def protect(jobs: Sequence[Job], output: Path) -> None:
    """Refuses results over inputs, links, and files that no earlier run wrote.

    Raises:
        DataError: names the file in the way.
    """
    inputs = {(stat.st_dev, stat.st_ino): job.source for job in jobs for stat in [os.stat(job.source)]}
    in_the_way = [job.target for job in jobs if os.path.lexists(job.target)]
    ours = recorded(output) if in_the_way else set()
    for target in in_the_way:
        advice = "choose another Infer.output"
        stat = os.stat(target) if os.path.exists(target) else os.lstat(target)  # a link may lead nowhere
        if (stat.st_dev, stat.st_ino) in inputs:
            raise DataError(f"{target} would replace the input {inputs[stat.st_dev, stat.st_ino]}; {advice}")
        if target.is_symlink() or not target.is_file():
            raise DataError(f"{target} is in the way and no plain file; {advice}")
        if not _is_ours(target, output, ours):
            raise DataError(f"{target} exists and is no earlier result; {advice} or remove it")


def recorded(output: Path) -> set[tuple[str, str]]:
    """(name below the output folder, sha256) of results that earlier runs wrote or were about to."""
    record = output / RECORD
    found = set()
    for line in record.read_text(encoding="utf-8").splitlines() if record.is_file() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # a killed run's last line
            continue
        if isinstance(entry, dict) and "sha256" in entry:
            found.add((entry["output"], entry["sha256"]))
    return found


def _is_ours(file: Path, output: Path, ours: set[tuple[str, str]]) -> bool:
    name = os.path.relpath(file.parent.resolve() / file.name, output.resolve())
    return any(name == other for other, _ in ours) and (name, sha256(file)) in ours


def _found(inputs: Sequence[str], output: Path) -> Iterator[tuple[Path, Path]]:
    """(file, its name below the input that named it). Earlier results are left out of folders and globs."""
    ours = recorded(output)
    for text in inputs:
        if os.path.isfile(text):
            yield Path(text), Path(Path(text).name)
            continue
        if os.path.isdir(text):
            base = Path(text)
            if base.resolve() == output.resolve():
                raise ConfigError(f"Infer.output: {output} is the folder of the input; choose another")
            files = _walk(base)
        else:
            base = _before_wildcard(Path(text))
            files = [Path(match) for match in files_matching(text)]
        if not files:
            raise nothing_matches(text)
        new = [file for file in files if not _is_ours(file, output, ours)]
        if not new:
            raise DataError(f"Infer.input: '{text}' holds only earlier results of {output}")
        if len(new) < len(files):
            log.info("%d earlier results in %s are not taken as input", len(files) - len(new), output)
        for file in new:
            below = Path(os.path.normpath(file.relative_to(base)))
            yield file, Path(below.name) if ".." in below.parts else below


def _walk(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise DataError(f"Infer.input: cannot search {error.filename}: {error.strerror}") from None

    known = IMAGE_SUFFIXES + _UNREAD
    files = [Path(path) for path in walk_images(folder, follow_links=False, suffixes=known, on_error=fail)]
    found = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if unread := sum(file.name.lower().endswith(_UNREAD) for file in files):
        log.info("%s: %d files passed over (camera raw, HEIC, …); save them as TIFF or JPEG", folder, unread)
    return sorted(file for file in found if os.path.isfile(file))


def _before_wildcard(path: Path) -> Path:
    fixed = takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
    return Path(*fixed)


def _named(below: Path, header: tuple[str, int, int] | None) -> Path:
    """The name, with another suffix where the file is written in a format that the suffix does not name."""
    suffixes = FORMATS[header[0]].suffixes if header and header[0] in FORMATS else ()
    return below if not suffixes or below.suffix.lower() in suffixes else below.with_suffix(suffixes[0])


def _free(target: Path, taken: set[str]) -> Path:
    number, free = 1, target
    # Some file systems take names that differ in case or in Unicode form for one.
    while (key := unicodedata.normalize("NFC", str(free)).casefold()) in taken:
        number += 1
        free = target.with_stem(f"{target.stem}_{number}")
    taken.add(key)
    return free

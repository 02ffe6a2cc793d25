"""Exports that the tools make for themselves, kept in a run's folder: `exported/<hash>`.

A folder is that of one network with one state of its weights, and never changes. The few used last are kept; older ones are removed,
unless a process uses them (each holds a shared lock on the manifest of what it uses) or somebody has put something into them.
"""

import fcntl
import logging
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import paddle.nn as nn

from ppcore.deploy import manifest
from ppcore.deploy.export import write_export
from ppcore.deploy.export_spec import spec_of
from ppcore.deploy.fingerprint import fingerprint
from ppcore.deploy.model_facts import ModelFacts
from ppcore.deploy.replacing import replacing
from ppcore.deploy.writers import check_formats
from ppcore.errors import ConfigError, WeightsError, reason

log = logging.getLogger("ppcore")

KEPT = 3  # exports of a run: of its best and its newest weights, and one more
ABANDONED = 86_400.0  # seconds after which a half-written folder is that of a process that was killed
_NAME = re.compile(r"[0-9a-f]{24}")
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{24}\..+")

_in_use: dict[Path, int] = {}  # descriptors of the manifests of what this process uses, locked until it ends


def cached_export(model: nn.Layer, within: str | os.PathLike, formats: tuple[str, ...] = ("onnx",)) -> Path:
    """The export of a model, written once for these weights, this architecture and this version of the suite.

    Of the exports that were made there before, all but those used last are removed.

    Args:
        model: with its weights.
        within: the folder in which `exported/<hash>` is kept; made.
        formats: as `export_model`.

    Returns:
        The folder with the export; no other process removes it while this one runs.

    Raises:
        ConfigError: as `export_model`, or the folder is damaged and holds other files.
    """
    formats = tuple(formats)
    check_formats(formats)
    spec = spec_of(model)
    folder = Path(within).resolve() / "exported" / fingerprint(spec, formats)
    if not _found_whole(folder):
        log.info("exporting the network to %s (once)", folder)
        with replacing(folder, stays=True) as temp:
            write_export(model, spec, temp, formats, ModelFacts())
        _hold(folder)
    with suppress(OSError):
        os.utime(folder)  # the time of its last use
    _remove_old(folder)
    return folder


def _found_whole(folder: Path) -> bool:
    """Whether the export is there and as it was written; it is then in use. A damaged one is removed.

    Raises:
        ConfigError: it is damaged, and holds or lacks what says that it is ours alone.
    """
    if not _hold(folder):
        return False
    try:
        manifest.check(folder, manifest.read(folder))
        return True
    except WeightsError as error:
        log.warning("%s", error)
        if not _is_ours_alone(folder):
            raise ConfigError(
                f"{folder}: is damaged and holds files that the tools did not write: remove it"
            ) from error
    os.close(_in_use.pop(folder))
    if not _removed(folder):
        raise ConfigError(f"{folder}: is damaged and cannot be removed now; remove it, or try again")
    return False


def _hold(folder: Path) -> bool:
    """Marks an export as used by this process until its end; False if it is not there."""
    path = folder / manifest.NAME
    try:
        file = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {reason(error)}") from error
    with suppress(OSError):  # a file system without locks; there nothing is removed
        fcntl.flock(file, fcntl.LOCK_SH)
    # Who removes an export renames it first, under a lock of its own that this one has waited for.
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file)):
        os.close(file)
        return False
    if folder in _in_use:
        os.close(_in_use[folder])
    _in_use[folder] = file
    return True


def _remove_old(present: Path) -> None:
    """Removes the exports beside the present one that are neither among the last used, nor in use, nor somebody's own."""
    try:
        beside = [(path.stat().st_mtime_ns, path) for path in present.parent.iterdir() if path.is_dir()]
    except OSError:  # another process has just removed one
        return
    exports = [path for _, path in sorted(beside, reverse=True) if _NAME.fullmatch(path.name) and path != present]
    for path in exports[KEPT - 1 :]:
        if not path.is_symlink() and _is_ours_alone(path) and _is_whole(path) and _removed(path):
            log.info("removed %s, the export of other weights", path)
    for changed, path in beside:
        if _HALF_WRITTEN.fullmatch(path.name) and time.time() - changed / 1e9 > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def _is_ours_alone(folder: Path) -> bool:
    """Whether an export holds the files that `cached_export` wrote, and nothing else such as an int8 form."""
    listed = manifest.listed(folder)
    return listed is not None and {path.name for path in folder.iterdir()} <= {*listed, manifest.NAME} and not any(
        name.endswith(manifest.INT8_SUFFIX) for name in listed
    )  # fmt: skip


def _is_whole(folder: Path) -> bool:
    """Whether nobody has changed a file; another version's export counts as whole."""
    try:
        manifest.check(folder, manifest.read(folder))
    except WeightsError as error:
        return "this suite reads" in str(error)
    return True


def _removed(folder: Path) -> bool:
    """Removes an export that no process uses; False if one does, or if it cannot be told or removed."""
    try:
        with (folder / manifest.NAME).open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
            folder.rename(aside)
    except OSError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True

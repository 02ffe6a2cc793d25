"""The folder of an export: written beside its place, and put there when it is whole."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppcore.deploy import manifest
from ppcore.errors import ConfigError, reason
from ppcore.weights.card import JSON, README, check_card


def check_replaceable(folder: Path) -> None:
    """Checks that a folder may become an export: it is new, empty, or holds an export of this suite and its card, and nothing else.

    Raises:
        ConfigError: there is something else.
        OutputError: the card has been edited.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give the folder to export to")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names:
        return
    listed = manifest.listed(folder)
    if listed is None:
        raise ConfigError(f"{folder}: holds files that are no export; give an empty or a new folder")
    if strangers := sorted(names - listed - {manifest.NAME, README, JSON}):
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise ConfigError(
            f"{folder}: holds {strangers[0]}{more}, which the export there did not write: move it away, or give another folder"
        )
    check_card(folder)


@contextmanager
def replacing(folder: Path, *, stays: bool = False) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `folder` when the block ends, and goes when it raises.

    Args:
        folder: its parents are made.
        stays: whether what another process has put there meanwhile stays, instead of being replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    place = folder.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {reason(error)}") from error
    try:
        yield temp
        temp.chmod(0o755)
        _put(temp, place, stays)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _put(temp: Path, place: Path, stays: bool) -> None:
    """Renames; what was there is removed when the new one is in its place."""
    before = temp.with_name(f"{temp.name}.old")
    if not stays and place.is_dir():
        place.rename(before)
    try:
        temp.rename(place)
    except OSError:
        if before.is_dir():
            before.rename(place)
        if not (stays and place.is_dir()):
            raise
    shutil.rmtree(before, ignore_errors=True)

"""Which files are images: by the suffix, in folders with those inside them, and by the names that users give."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ppcore.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")


def walk_images(
    folder: str | os.PathLike,
    *,
    follow_links: bool = True,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    on_error: Callable[[OSError], None] | None = None,
) -> Iterator[str]:
    """The image files in a folder and in the folders inside it: sorted names, first a folder's own, then its folders'.

    Args:
        folder: where to look.
        follow_links: into folders that links lead to.
        suffixes: in lower case; a name's may be in either.
        on_error: called with what keeps a folder from being searched; None passes it over.

    Yields:
        Paths that begin with `folder`. Whether they are files or broken links is not looked up.
    """
    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=follow_links):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names) if name.lower().endswith(suffixes))


def find_images(inputs: str | Sequence[str]) -> list[str]:
    """Image files named by files, folders (searched through) and globs, each once, in order.

    Raises:
        DataError: an input matches nothing; the message names it.
    """
    found: dict[str, None] = {}
    for text in [inputs] if isinstance(inputs, str) else inputs:
        # os.path, because pathlib's tests raise for a name that is too long or may not be looked at.
        if os.path.isdir(text):
            inside = (str(Path(path)) for path in walk_images(text, follow_links=False) if os.path.isfile(path))
            matches = sorted(inside)
        else:
            matches = files_matching(text)
        if not matches:
            raise nothing_matches(text)
        found.update(dict.fromkeys(matches))
    return list(found)


def files_matching(text: str) -> list[str]:
    """A file's own name, or the files that a glob (`**` too) matches, sorted."""
    return [text] if os.path.isfile(text) else sorted(m for m in glob.glob(text, recursive=True) if os.path.isfile(m))


def nothing_matches(text: str) -> DataError:
    """The error of an `Infer.input` without images."""
    return DataError(f"Infer.input: '{text}' is no image, no folder with images and no matching glob")

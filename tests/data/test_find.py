"""Which files are images, in which order."""

import os

import pytest

from ppcore.data import find_images, walk_images
from ppcore.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "sub/d.tiff", "sub/c.gif", "aa/e.ppm", ".hidden.png", "f.nef"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.png").touch()
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "link")
    return tmp_path / "in"


def test_a_walk_is_sorted_folder_by_folder(folder):
    found = [os.path.relpath(path, folder) for path in walk_images(folder)]
    assert found == [".hidden.png", "a.png", "b.JPG", "aa/e.ppm", "link/z.png", "sub/c.gif", "sub/d.tiff"]
    inside = [
        os.path.relpath(path, folder) for path in walk_images(folder, follow_links=False, suffixes=(".nef", ".gif"))
    ]
    assert inside == ["f.nef", "sub/c.gif"]
    assert list(walk_images(folder / "nowhere")) == []
    with pytest.raises(FileNotFoundError):
        list(walk_images(folder / "nowhere", on_error=lambda error: (_ for _ in ()).throw(error)))


def test_inputs_are_files_folders_and_globs_each_image_once(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    everything = [".hidden.png", "a.png", "aa/e.ppm", "b.JPG", "sub/c.gif", "sub/d.tiff"]
    assert find_images("in") == find_images("./in/") == [f"in/{name}" for name in everything]
    assert find_images(["in/b.JPG", "in/sub", "in/b.JPG"]) == ["in/b.JPG", "in/sub/c.gif", "in/sub/d.tiff"]
    assert find_images("in/**/*.t*") == ["in/notes.txt", "in/sub/d.tiff"]  # a glob is taken at its word
    with pytest.raises(DataError, match=r"^Infer\.input: 'in/\*\.webp' is no image, no folder with images"):
        find_images(["in", "in/*.webp"])

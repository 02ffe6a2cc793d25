"""docs/architecture.md names files that exist, and the two walks are as short as they should be."""

import re

from conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def walk(title: str) -> list[str]:
    section = re.split(r"^## ", PAGE.partition(f"## {title}")[2], flags=re.M)[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", section, flags=re.M)


def test_the_walks():
    image, weights = walk("An image's way from YAML to the loss"), walk("A weight file's way into a network")
    assert 8 <= len(image) <= 12
    assert 4 <= len(weights) <= 6
    assert all((ROOT / file).is_file() for file in [*image, *weights])


def test_the_rooms_are_the_folders():
    rooms = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M))
    folders = {path.parent.name for path in (ROOT / "ppcore").glob("*/__init__.py")}
    assert rooms == folders - {"optim", "runtime"}


def test_every_file_it_names_exists():
    for file in re.findall(r"`((?:ppcore|ppvit|tests|tools)/[\w/]+\.py)`", PAGE):
        assert (ROOT / file).is_file(), file

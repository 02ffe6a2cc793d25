"""Photographs that come with the suite's dependencies: real ones that need no download."""

import importlib.util
import os
from typing import Any, Literal

from ppcore.data.datasets.dataset import Dataset
from ppcore.data.images.decode import read_image
from ppcore.data.ranges import check_choice
from ppcore.errors import DataError

# Which installed package has it, and where inside.
_TRAIN = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/motorcycle_right.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
_TEST = (
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("sklearn", "datasets/images/flower.jpg"),
)


class Photographs(Dataset):
    """Eight well-exposed colour photographs from the wheels of scikit-image, scikit-learn and matplotlib.

    `train`: an astronaut (512x512), a motorcycle in a garage seen from two places (500x741 each; one
    scene), a pagoda by a lake (427x640) and a portrait (600x512). `test`: a cat (300x451), a cup of coffee
    (400x600) and a flower (427x640): other scenes from other cameras, none of them in `train`.

    Of scikit-image's other colour images none is a well-lit photograph (a launch at dusk, galaxies, tissue, a retina,
    drawings), and what it would download is left out.

    Args:
        split: which photographs.

    `load` gives `{"image": uint8 [H, W, 3] RGB, "path": str}`, the same array every time.

    Raises:
        ConfigError: `split` is none of the three.
        DataError: an installed package came without its pictures.
    """

    def __init__(self, *, split: Literal["train", "test", "all"] = "all"):
        check_choice(self, "split", split, ("train", "test", "all"))
        chosen = {"train": _TRAIN, "test": _TEST, "all": _TRAIN + _TEST}[split]
        self.paths = [_installed(package, path) for package, path in chosen]
        self.images = [read_image(path) for path in self.paths]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "path": self.paths[index]}


def _installed(package: str, path: str) -> str:
    """A file inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = os.path.join(folder, *path.split("/"))
        if os.path.isfile(found):
            return found
    raise DataError(f"Photographs: {package} is installed without {path}: install it from its wheel on PyPI")

"""Pictures of discs, dark and light: pairs for restoration, classes (how large) for the rest."""

import numpy as np

from ppcore.data import Dataset


class Discs(Dataset):
    """Dark pictures of a disc with their light references.

    Args:
        count: how many.
        seed: of the pictures.
        side: their height and width.
    """

    classes = ("small", "middle", "large")
    num_classes = 3

    def __init__(self, *, count: int, seed: int = 0, side: int = 16):
        self.count, self.seed, self.side = count, seed, side

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> dict:
        rng = np.random.default_rng((self.seed, index))
        y, x = np.mgrid[: self.side, : self.side]
        label = index % 3
        centre = rng.integers(5, self.side - 5, 2)
        inside = np.hypot(y - centre[0], x - centre[1]) < 2 + 1.5 * label
        light = np.where(inside[..., None], rng.integers(150, 255, 3), rng.integers(20, 90, 3)).astype(np.uint8)
        return {"image": light // 3, "target": light, "label": label, "path": f"disc {index}"}

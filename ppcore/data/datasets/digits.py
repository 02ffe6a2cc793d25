"""scikit-learn's handwritten digits: real images that need no download."""

from typing import Literal

import cv2
import numpy as np

from ppcore.data.datasets.dataset import ArrayImages, take_stratified
from ppcore.data.ranges import check, check_choice


class Digits(ArrayImages):
    """1,797 handwritten digits of 8x8 pixels and 17 grey levels (UCI optical digits, its test part).

    The split is fixed: sort the images by class, keeping their order within a class; the first of
    every five is test. That gives 1,437 train and 360 test images (35 to 37 a class).

    Args:
        split: which images.
        image_size: side length to enlarge to (bilinear); None keeps 8.
        limit: take only so many of the split, equally many a class, the same ones every time; None takes all.

    `load` gives RGB uint8 with the grey levels 0..16 scaled to 0..255.

    Raises:
        ConfigError: `image_size` is below 1, or the split has no `limit` images.
    """

    def __init__(
        self,
        split: Literal["train", "test", "all"] = "train",
        image_size: int | None = None,
        limit: int | None = None,
    ):
        # Imported here: scikit-learn takes a second, which other datasets need not pay.
        from sklearn.datasets import load_digits

        check(image_size is None or image_size >= 1, self, "image_size", image_size, "at least 1")
        source = load_digits()
        index = split_indices(source.target, split)
        index = index[take_stratified(source.target[index], limit)]
        images = np.rint(source.images[index] * (255 / 16)).astype(np.uint8)  # [N, 8, 8]
        if image_size is not None:
            size = (image_size, image_size)
            images = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in images])
        images = np.repeat(images[..., None], 3, axis=-1)  # [N, H, W, 3]
        super().__init__(images, source.target[index], [str(digit) for digit in range(10)], 10)


def split_indices(labels: np.ndarray, split: Literal["train", "test", "all"]) -> np.ndarray:
    """Indices of a split, increasing; `train` and `test` are disjoint and together `all`."""
    check_choice("Digits", "split", split, ("train", "test", "all"))
    by_class = np.argsort(labels, kind="stable")
    is_test = np.arange(len(labels)) % 5 == 0
    chosen = {"train": ~is_test, "test": is_test, "all": np.full(len(labels), True)}[split]
    return np.sort(by_class[chosen])

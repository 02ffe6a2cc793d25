"""Several views of one image, as self-supervised methods compare them."""

from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

import numpy as np

from ppcore.data.ranges import check
from ppcore.data.transforms.transform import Transform, apply_all
from ppcore.errors import ConfigError, DataError


class View(TypedDict):
    """How the views of one name are made: `count` of them (1 when left out), by named `transforms` in their order.

    A transform that is None is left out.
    """

    count: NotRequired[int]
    transforms: dict[str, Transform | None]


class Views:
    """Makes random views of each image, of one or several kinds: of two sizes, as DINO's global and local crops.

    Each kind has its own transforms, which end with Normalize and a fixed size. All draw from the sample's generator,
    one view after another, so the same seed gives the same views in any process and after any restart.

    Args:
        views: by name, how many and by which transforms; the names are those of the batch's arrays.

    Shape:
        The sample gets float32 [count, C, H, W] for each name, batches [B, count, C, H, W]. Its `image` is left out,
        unless a view is called so.

    Raises:
        ConfigError: no view, a count below 1, or a view without transforms; when called: a view is not normalised, or
            is called like something else in the sample.
        DataError: when called: the views of one name differ in size.
    """

    on_sample = True

    def __init__(self, views: dict[str, View]):
        check(len(views) > 0, self, "views", views, "at least one view by its name")
        self.views: dict[str, tuple[int, list[Callable]]] = {}
        for name, view in views.items():
            steps = [step for step in view["transforms"].values() if step is not None]
            count = view.get("count", 1)
            check(count >= 1, self, f"views.{name}.count", count, "at least 1")
            check(
                len(steps) > 0, self, f"views.{name}.transforms", view["transforms"], "some, the last of them Normalize"
            )
            self.views[name] = count, steps

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        taken = self.views.keys() & (sample.keys() - {"image"})
        check(not taken, self, "a view's name", ", ".join(sorted(taken)), "another: the samples have that already")
        kept = {name: value for name, value in sample.items() if name != "image"}
        return {**kept, **{name: self._stacked(name, sample, rng) for name in self.views}}

    def _stacked(self, name: str, sample: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """The views of one name, float32 [count, C, H, W]."""
        count, steps = self.views[name]
        images = [apply_all(steps, dict(sample), rng)["image"] for _ in range(count)]
        if any(image.dtype != np.float32 for image in images):
            raise ConfigError(f"Views: the transforms leave {name} as {images[0].dtype}: end them with Normalize")
        if len(sizes := {image.shape for image in images}) > 1:
            first, last = min(sizes), max(sizes)
            raise DataError(f"Views: {name} differ in size ({first}, {last}): end them with a fixed-size crop")
        return np.stack(images)

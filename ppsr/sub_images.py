"""Sub-images to train on: windows of photographs in low resolution and the labels that belong to them."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ppcore.data import Dataset
from ppcore.data.ranges import check
from ppcore.errors import DataError
from ppsr.degrade import Degraded, InputName, check_making, degrade, smaller_copy
from ppsr.degraded_images import photograph
from ppsr.sr_protocols import ProtocolName, protocol_of


class _Grid(NamedTuple):
    """A photograph in low resolution, the windows in it, and its scale from input to reference."""

    pair: Degraded
    rows: int
    columns: int
    ratio: int
    photograph: int


class SubImages(Dataset):
    """Windows on a regular grid, the same every time: T91's sub-images of every paper that trained on them.

    The photographs are degraded once, when the data set is built, and stay in memory; a window is a view of them. Windows
    are never degraded on their own: their borders are those of the photograph.

    | paper | input | size | stride | label | scales | rotations |
    |---|---|---|---|---|---|---|
    | SRCNN 9-1-5 | bicubic | 33 | 14 | 21 | | |
    | SRCNN 9-5-5 | bicubic | 33 | 14 | 17 | | |
    | FSRCNN ×2 | lr | 10 | | 19, at 0 | 1 .9 .8 .7 .6 | all four |
    | FSRCNN ×3 | lr | 7 | | 19, at 1 | likewise | likewise |
    | FSRCNN ×4 | lr | 6 | | 21, at 0 | likewise | likewise |
    | VDSR | bicubic | 41 | 41 | | 1 .7 .5, for ×2 ×3 ×4 together | all four, and mirrored |

    Args:
        source: the photographs, such as `ppsr.ImagesOf` or `ppcore.data.Photographs`.
        scale: 2, 3, 4, …, or several that are trained together (with `bicubic` alone: their inputs have one size).
        size: side of a window of the input.
        stride: from window to window, in pixels of the input.
        input: see `ppsr.DegradedImages`.
        protocol: how images are made, see `ppsr.LumaQuality`.
        label: side of the label, cut out of the reference's window; None takes all of it.
        label_at: how many of the reference's rows and columns lie before the label; None puts it in the middle, rounded down.
        scales: each photograph is taken in these sizes, shrunk before everything else.
        rotations: each window is turned by these degrees. For photographs whose sides are multiples of the scale this is what
            turning the photographs gives.
        flips: each window is taken mirrored, too.

    `load` gives `{"image": float32 [C, size, size], "target": float32 [C, label, label], "path": str}`; the windows of a
    photograph follow each other, each in all its orientations.

    Raises:
        ConfigError: an argument is out of range, or they do not go together.
        DataError: no photograph is large enough for a window.
    """

    def __init__(
        self,
        *,
        source: Dataset,
        scale: int | Sequence[int],
        size: int,
        stride: int,
        input: InputName = "bicubic",
        protocol: ProtocolName = "matlab_y8_replicate",
        label: int | None = None,
        label_at: int | None = None,
        scales: Sequence[float] = (1.0,),
        rotations: Sequence[int] = (0,),
        flips: bool = False,
    ):
        factors = [scale] if isinstance(scale, int) else list(scale)
        making = protocol_of(protocol).making
        for factor in factors:
            check_making(self, factor, making, input)
        alone = len(factors) == 1 or input == "bicubic"
        check(len(factors) > 0 and alone, self, "scale", scale, "one number, or several with input bicubic")
        check(size >= 1 and stride >= 1, self, "size and stride", [size, stride], "1 or more")
        check(len(scales) > 0 and all(0 < s <= 1 for s in scales), self, "scales", list(scales), "within 0..1, above 0")
        turns = set(rotations) <= {0, 90, 180, 270} and len(set(rotations)) == len(rotations) > 0
        check(turns, self, "rotations", list(rotations), "some of 0, 90, 180 and 270, each once")
        self.size, self.stride = size, stride
        block = size if input == "bicubic" else size * factors[0]
        self.label = block if label is None else label
        self.label_at = (block - self.label) // 2 if label_at is None else label_at
        inside = self.label >= 1 and 0 <= self.label_at <= block - self.label
        check(inside, self, "label and label_at", [label, label_at], f"inside the window's {block} pixels")
        self.orientations = [
            (turn // 90, flip) for flip in ((False, True) if flips else (False,)) for turn in rotations
        ]
        self.source_paths = source.paths
        self._grids = list(self._made(source, factors, scales, making, input))
        counts = [grid.rows * grid.columns * len(self.orientations) for grid in self._grids]
        self._ends = list(accumulate(counts))
        if not counts:
            raise DataError(
                f"SubImages: no photograph is large enough for a window of {size} pixels: make size smaller"
            )

    def _made(self, source, factors, scales, making, given):
        """A grid for each photograph, scale and size that has a window at all."""
        for index in range(len(source)):
            pixels = photograph(source, index)
            for factor in factors:
                for shrunk in (smaller_copy(pixels, share, making) for share in scales):
                    if min(shrunk.shape[:2]) < factor:
                        continue
                    pair = degrade(shrunk, factor, making, given)
                    rows, columns = ((side - self.size) // self.stride + 1 for side in pair.image.shape[1:])
                    if min(rows, columns) > 0:
                        yield _Grid(pair, rows, columns, 1 if given == "bicubic" else factor, index)

    def __len__(self) -> int:
        return self._ends[-1]

    def load(self, index: int) -> dict[str, Any]:
        place = bisect_right(self._ends, index)
        grid = self._grids[place]
        window, orientation = divmod(index - (self._ends[place - 1] if place else 0), len(self.orientations))
        row, column = divmod(window, grid.columns)
        top, left = row * self.stride, column * self.stride
        image = grid.pair.image[:, top : top + self.size, left : left + self.size]
        top, left, side = top * grid.ratio, left * grid.ratio, self.size * grid.ratio
        target = grid.pair.target[:, top : top + side, left : left + side]
        image, target = (turned(each, *self.orientations[orientation]) for each in (image, target))
        inside = slice(self.label_at, self.label_at + self.label)
        path = None if self.source_paths is None else self.source_paths[grid.photograph]
        return {"image": image, "target": target[:, inside, inside], "path": path}


class RandomPatch:
    """The same window of a sample's input and reference, by chance and in a random orientation: SRResNet's training crops.

    Args:
        size: side of the input's window; the reference's is as many times larger as the reference is.
        turn: whether it is turned by a multiple of 90 degrees and mirrored.

    Raises:
        ConfigError: `size` is not positive.
        DataError: when called: the image is smaller, or the reference no whole multiple of it.
    """

    on_sample = True

    def __init__(self, *, size: int, turn: bool = True):
        check(size >= 1, self, "size", size, "1 or more")
        self.size, self.turn = size, turn

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image, target = sample["image"], sample["target"]
        (height, width), ratio = image.shape[1:], target.shape[1] // image.shape[1]
        if target.shape[1:] != (height * ratio, width * ratio) or min(height, width) < self.size:
            raise DataError(
                f"RandomPatch: {sample.get('path')} is {height}x{width} with a reference of "
                f"{target.shape[1]}x{target.shape[2]}: no window of {self.size} pixels fits both"
            )
        top, left = (int(rng.integers(side - self.size + 1)) for side in (height, width))
        orientation = divmod(int(rng.integers(8)), 2) if self.turn else (0, 0)

        def patch(plane: np.ndarray, times: int) -> np.ndarray:
            rows, columns = (slice(start * times, (start + self.size) * times) for start in (top, left))
            return turned(plane[:, rows, columns], *orientation)

        return {**sample, "image": patch(image, 1), "target": patch(target, ratio)}


def turned(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """[C, H, W] turned counterclockwise by quarters and then mirrored left to right (a view)."""
    if quarters % 2:
        image = image.transpose(0, 2, 1)
    if quarters in (1, 2):
        image = image[:, ::-1]
    if quarters in (2, 3):
        image = image[..., ::-1]
    return image[..., ::-1] if mirrored else image

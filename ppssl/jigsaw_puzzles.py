"""Jigsaw puzzles (Noroozi & Favaro 2016, arXiv 1603.09246): which of a set of permutations are an image's tiles in?

The puzzle is a transform, which makes an image of shuffled tiles and its label; the network cuts it into tiles again. Training is
supervised from there: `ppcore.losses.CrossEntropy`, and no task of its own.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError
from ppcore.layers import Conv2D, checks, init


@cache
def permutation_set(count: int, tiles: int = 9, seed: int = 0) -> np.ndarray:
    """Permutations that differ in many places: int64 [count, tiles], read-only.

    The first is drawn; each next one has the largest average Hamming distance from those before, by lot where several have.

    Args:
        count: how many, tiles! at most.
        tiles: that are permuted, 9 at most.
        seed: of what is drawn.

    Raises:
        ConfigError: there are not so many.
    """
    everything = _all_permutations(tiles)
    if not 2 <= count <= len(everything):
        raise ConfigError(
            f"a set of {count} permutations of {tiles} tiles: there are {len(everything)}, 2 are the least"
        )
    rng = np.random.default_rng(seed)
    chosen, distances = [int(rng.integers(len(everything)))], np.zeros(len(everything), np.int64)
    while len(chosen) < count:
        distances += (everything != everything[chosen[-1]]).sum(1)
        distances[chosen[-1]] = -(10**9)  # never again
        chosen.append(int(rng.choice(np.flatnonzero(distances == distances.max()))))
    found = everything[chosen].astype(np.int64)
    found.setflags(write=False)
    return found


@cache
def _all_permutations(tiles: int) -> np.ndarray:
    """int8 [tiles!, tiles]."""
    return np.array(list(itertools.permutations(range(tiles))), np.int8)


class JigsawTiles:
    """An image as a puzzle: a tile at a random place in each cell of a grid, each normalised by itself, and all shuffled.

    The gap that the random places leave, and the tiles' own means and deviations, take away what would say at once which edges
    belong together. Where the image has room beyond the grid of cells, the grid lies in its middle.

    Args:
        cell: side of a cell in pixels (paper: 75).
        tile: side of a tile (paper: 64).
        permutations: how many permutations there are to tell apart.
        grid: cells on each side.
        seed: of the set of permutations, `permutation_set`'s.

    Shape:
        The sample's `image`, uint8 [H, W, C], becomes float32 [C, grid·tile, grid·tile], its `label` the number of the permutation.

    Raises:
        ConfigError: an argument out of its range; when called: the image is smaller than the grid of cells.
    """

    on_sample = True

    def __init__(self, *, cell: int, tile: int, permutations: int = 100, grid: int = 3, seed: int = 0):
        checks.whole(self, 1, tile=tile, cell=cell)
        if not (checks.is_whole(grid) and 2 <= grid <= 3):
            checks.fail(self, "grid", grid, "2 or 3")
        if tile > cell:
            checks.fail(self, "tile", tile, f"no larger than a cell of {cell}")
        self.cell, self.tile, self.grid = cell, tile, grid
        self.permutations = permutation_set(permutations, grid**2, seed)

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image = pixels_of(sample["image"])
        side = self.cell * self.grid
        top, left = ((length - side) // 2 for length in image.shape[:2])
        if min(top, left) < 0:
            height, width = image.shape[:2]
            raise ConfigError(
                f"JigsawTiles: an image of {height}x{width} has no room for {self.grid} cells of {self.cell}"
            )
        label = int(rng.integers(len(self.permutations)))
        places = rng.integers(self.cell - self.tile + 1, size=(self.grid**2, 2))
        tiles = []
        for number, (down, across) in enumerate(places):
            row, column = divmod(number, self.grid)
            y, x = top + row * self.cell + down, left + column * self.cell + across
            tiles.append(normalized_tile(image[y : y + self.tile, x : x + self.tile]))
        shuffled = np.stack(tiles)[self.permutations[label]]  # [grid², C, tile, tile]
        return {**sample, "image": joined(shuffled, self.grid), "label": label}


def normalized_tile(tile: np.ndarray) -> np.ndarray:
    """uint8 [h, w, C] -> float32 [C, h, w] of mean 0 and deviation 1; a flat one is 0."""
    values = tile.astype(np.float32).transpose(2, 0, 1)
    values -= values.mean()
    return values / max(float(values.std()), 1e-3)


def joined(tiles: np.ndarray, grid: int) -> np.ndarray:
    """Tiles [grid², C, t, t] side by side as an image [C, grid·t, grid·t]."""
    _, channels, side, _ = tiles.shape
    rows = tiles.reshape(grid, grid, channels, side, side).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(rows.reshape(channels, grid * side, grid * side))


class ShiftChannels:
    """Moves each colour channel by up to some pixels on its own, edges repeated: no two tiles can be joined by their fringes of colour.

    Args:
        most: pixels, down or up and left or right (paper: 2).
    """

    def __init__(self, *, most: int = 2):
        checks.whole(self, 0, most=most)
        self.most = most

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = image.shape
        wide = np.pad(image, [(self.most, self.most)] * 2 + [(0, 0)], mode="edge")
        shifts = rng.integers(2 * self.most + 1, size=(channels, 2))
        moved = [wide[y : y + height, x : x + width, c] for c, (y, x) in enumerate(shifts)]
        return np.stack(moved, axis=2)


class ContextFreeNetwork(nn.Layer):
    """One column for every tile, the same weights for all, joined behind it: what a tile says must not depend on its neighbours.

    The paper's column is AlexNet's; this one is small: convolutions of 3 x 3 with ReLU, halved by max pooling behind each but the
    last, and a linear layer (the paper's fc6).

    Args:
        permutations: outputs.
        tile: side of a tile in pixels.
        grid: tiles on each side.
        in_chans: input channels.
        widths: channels of the column's convolutions.
        features: of a tile (fc6).
        joined: channels behind the joined features (fc7).

    Shape:
        [B, in_chans, grid·tile, grid·tile], tiles side by side -> [B, permutations].

    Raises:
        ConfigError: an argument out of its range, or tiles that are halved to nothing.
    """

    def __init__(
        self,
        *,
        permutations: int = 100,
        tile: int = 64,
        grid: int = 3,
        in_chans: int = 3,
        widths: Sequence[int] = (32, 64, 64),
        features: int = 64,
        joined: int = 256,
    ):
        super().__init__()
        checks.whole(self, 1, tile=tile, grid=grid, in_chans=in_chans, features=features, joined=joined)
        checks.whole(self, 2, permutations=permutations)
        checks.wholes(self, 1, widths=widths)
        left = tile >> (len(widths) - 1)
        if not widths or left < 1:
            checks.fail(self, "widths", widths, f"from one to as many as halve tiles of {tile} pixels to one pixel")
        self.tile, self.grid, self.in_chans = tile, grid, in_chans
        self.img_size = (grid * tile, grid * tile)
        chans = [in_chans, *widths]
        self.convs = nn.LayerList(_conv(*pair) for pair in itertools.pairwise(chans))
        self.fc6 = _linear(chans[-1] * left**2, features)
        self.fc7 = _linear(features * grid**2, joined)
        self.fc8 = _linear(joined, permutations)

    def tiles(self, x):
        """The tiles of puzzles, row by row: [B, C, grid·t, grid·t] -> [B·grid², C, t, t]."""
        batch, grid, side = x.shape[0], self.grid, self.tile
        cut = x.reshape([batch, self.in_chans, grid, side, grid, side]).transpose([0, 2, 4, 1, 3, 5])
        return cut.reshape([batch * grid**2, self.in_chans, side, side])

    def column(self, tiles):
        """Features of tiles: [T, C, t, t] -> [T, features]."""
        for number, conv in enumerate(self.convs):
            tiles = F.relu(conv(tiles if number == 0 else F.max_pool2d(tiles, 2)))
        return F.relu(self.fc6(tiles.flatten(1)))

    def forward(self, x):
        features = self.column(self.tiles(x)).reshape([x.shape[0], -1])
        return self.fc8(F.relu(self.fc7(features)))


def _conv(in_chans: int, out_chans: int) -> nn.Layer:
    fan_in = 9 * in_chans
    attrs = dict(weight_attr=init.attr(init.Gaussian((2 / fan_in) ** 0.5)), bias_attr=init.attr(init.Zeros()))
    return Conv2D(in_chans, out_chans, 3, padding=1, **attrs)


def _linear(in_dim: int, out_dim: int) -> nn.Layer:
    attrs = dict(weight_attr=init.attr(init.Gaussian((2 / in_dim) ** 0.5)), bias_attr=init.attr(init.Zeros()))
    return nn.Linear(in_dim, out_dim, **attrs)

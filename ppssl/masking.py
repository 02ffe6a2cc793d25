"""Random masks over patches: which are kept, which removed, and how the removed ones are put back."""

from typing import Any, NamedTuple

import numpy as np
import paddle


class Mask(NamedTuple):
    """Which patches of a batch are kept.

    Attributes:
        keep: int64 [B, K], numbers of the kept patches, in the order the encoder sees them.
        restore: int64 [B, N], for each patch its place among the kept ones followed by the removed ones.
        removed: float32 [B, N], 1 for a removed patch.
    """

    keep: paddle.Tensor
    restore: paddle.Tensor
    removed: paddle.Tensor


def count_kept(patches: int, ratio: float) -> int:
    """How many of N patches are kept when `ratio` is removed: N·(1 - ratio), cut to a whole number in floating point.

    (So 9 of 100 at .9, as in MAE's and Jigsaw-ViT's codes, because 1 - .9 is a little below .1.)
    """
    return int(patches * (1 - ratio))


def random_mask(noise: np.ndarray, ratio: float) -> Mask:
    """Keeps the patches of the smallest noise, in its order.

    Args:
        noise: [B, N], a number for each patch, uniform and independent for a random mask.
        ratio: share of the patches that is removed.
    """
    shuffle = np.argsort(noise, axis=1, kind="stable")
    restore = np.argsort(shuffle, axis=1, kind="stable")
    kept = count_kept(noise.shape[1], ratio)
    removed = (restore >= kept).astype(np.float32)
    return Mask(paddle.to_tensor(shuffle[:, :kept]), paddle.to_tensor(restore), paddle.to_tensor(removed))


def mask_of_images(index: np.ndarray, patches: int, ratio: float, seed: int) -> Mask:
    """A mask for each image by its number in the data set: the same in every evaluation.

    Args:
        index: int [B].
        patches: of an image.
        ratio: share of them that is removed.
        seed: of all masks.
    """
    return random_mask(
        np.stack([np.random.default_rng((seed, int(number))).random(patches) for number in index]), ratio
    )


def take(tokens: paddle.Tensor, places: paddle.Tensor) -> paddle.Tensor:
    """The tokens of each image at its own places: [B, N, D], [B, K] -> [B, K, D]."""
    batch, count, dim = tokens.shape
    # Of all tokens in a row: the gradient of a gather along an axis other than the first is wrong in Paddle 2.6.2.
    rows = (places + paddle.arange(batch, dtype=places.dtype).unsqueeze(1) * count).flatten()
    return paddle.gather(tokens.reshape([batch * count, dim]), rows).reshape([batch, places.shape[1], dim])


class StepNoise:
    """Random numbers of a training step, one row an image.

    An image has the same ones however many processes share its batch, and after any restart; each micro-batch has others.

    Args:
        run: of the training.
    """

    def __init__(self, run: Any):
        self.run, self._step, self._rng = run, None, None

    def uniform(self, step: int, *shape: int) -> np.ndarray:
        """U[0, 1) float64 of the shape [B, …], B being this process's images."""
        if step != self._step:
            self._step, self._rng = step, self.run.rng(step, shared=True)
        world = self.run.world
        # Process r has every size-th image of a batch, from r on (`ppcore.data.TrainBatchSampler`).
        return self._rng.random((shape[0] * world.size, *shape[1:]))[world.rank :: world.size]

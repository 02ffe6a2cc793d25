"""Where randomness in the data comes from: generators keyed by what they are for.

Nothing carries a state from one sample to the next, so any sample can be made again in any
process, in any order, after any restart. The tag keeps streams apart: numpy pads a short key
with zeros, so without it the order of epoch 3 and image 0 of epoch 3 would share numbers.
"""

import numpy as np

_ORDER, _BATCH = 1, 2


def sample_rng(seed: int, epoch: int, index: int, copy: int) -> np.random.Generator:
    """For the transforms of one sample."""
    return np.random.default_rng((seed, epoch, index, copy))


def order_rng(seed: int, epoch: int) -> np.random.Generator:
    """For the order of the images in an epoch."""
    return np.random.default_rng((seed, epoch, 0, 0, _ORDER))


def batch_rng(seed: int, step: int, micro: int, rank: int) -> np.random.Generator:
    """For the batch transforms of one micro-batch."""
    return np.random.default_rng((seed, step, micro, rank, _BATCH))

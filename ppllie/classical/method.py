"""What all classical methods are: a network without parameters around numpy and OpenCV."""

import numpy as np
import paddle
import paddle.nn as nn


class ClassicalMethod(nn.Layer):
    """Enhances each image of a batch on its own; nothing is learned and there is no gradient.

    A subclass defines `enhance(image)`, RGB float32 [H, W, 3] in [0, 1] to the same, for any H, W ≥ 1.

    Shape:
        [B, 3, H, W] -> [B, 3, H, W] in [0, 1].
    """

    makes_images = True
    needs_weights = False

    @paddle.no_grad()
    def forward(self, x):
        """[B, 3, H, W] in [0, 1] (what lies outside is clamped) -> the same."""
        images = np.clip(x.astype("float32").numpy(), 0.0, 1.0).transpose(0, 2, 3, 1)
        enhanced = [np.clip(self.enhance(np.ascontiguousarray(image)), 0.0, 1.0) for image in images]
        stacked = np.stack(enhanced).transpose(0, 3, 1, 2).astype(np.float32)
        return paddle.to_tensor(np.ascontiguousarray(stacked))

    def enhance(self, image: np.ndarray) -> np.ndarray:
        """One image [H, W, 3] float32 RGB in [0, 1] -> the same size; the caller clamps."""
        raise TypeError(f"{type(self).__name__} must define it")


class Identity(ClassicalMethod):
    """The input as it is: the first row of every table."""

    def enhance(self, image: np.ndarray) -> np.ndarray:
        return image


class Gamma(ClassicalMethod):
    """Power law, out = in ** (1 / gamma).

    Args:
        gamma: above 1 brightens; 2.2 undoes a display.
    """

    def __init__(self, *, gamma: float = 2.2):
        super().__init__()
        if not gamma > 0.0:
            raise ValueError(f"gamma must be above 0, not {gamma}")
        self.gamma = gamma

    def enhance(self, image: np.ndarray) -> np.ndarray:
        return image ** np.float32(1.0 / self.gamma)

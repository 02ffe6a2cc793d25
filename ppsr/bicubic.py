"""Bicubic enlargement as a network without weights: the row that every learned one is set beside."""

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.data.images.matlab_resize import Border, imresize


class Bicubic(nn.Layer):
    """MATLAB's bicubic enlargement of each channel, in float64; nothing is learned and there is no gradient.

    Args:
        scale: 1 gives the input as it is, for inputs that are enlarged already, by any factor.
        border: see `ppcore.data.images.matlab_resize.imresize`.

    Shape:
        [B, C, H, W] -> [B, C, H · scale, W · scale].
    """

    makes_images = True
    needs_weights = False

    def __init__(self, *, scale: int, border: Border = "symmetric"):
        super().__init__()
        self.scale, self.border = scale, border
        self.enlarged_first = scale == 1

    @paddle.no_grad()
    def forward(self, x):
        """Enlarges images [B, C, H, W]."""
        images = x.astype("float32").numpy().transpose(0, 2, 3, 1)
        enlarged = [imresize(image, self.scale, border=self.border) for image in images]
        return paddle.to_tensor(np.ascontiguousarray(np.stack(enlarged).transpose(0, 3, 1, 2), np.float32))

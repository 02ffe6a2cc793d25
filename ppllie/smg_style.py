"""SMG-style enhancement: SMG's pipeline without its StyleGAN edge net (Xu, Wang and Lu, CVPR 2023, arXiv 2305.05839).

SMG draws the edges of the dark image with a StyleGAN-like generator of its own CUDA operators, at 512x512 alone. Here a
small U-net draws them, trained on the same target, the Canny edges of the reference. The rest is the paper's: an initial
image from a plain U-net, then a second one under the guidance of the edges. No number of the paper is claimed.
"""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks
from ppllie.smg_nets import AppearanceNet, StructureGuidedNet, padded

_LUMA = (0.299, 0.587, 0.114)


class SMGStyle(nn.Layer):
    """I0 = clamp(x + AM(x)), e = sigmoid(edge net(grey x)), y = clamp(I0 + SGEM([I0, x], e)).

    Input: RGB in [0, 1], [B, 3, H, W], any H, W >= 1. Output: the enhanced image in [0, 1]. In training (y, I0, e), with
    e [B, 1, H, W] the probability of an edge. The instance norms inside see the whole image, so that a tile's result is
    not that of the same place in the image.

    Args:
        width: of SGEM, n (16 in the paper).
        appearance_width: of the plain U-net (32 in the paper).
        edge_width: of the edge U-net, which is not the paper's.
        blocks: residual blocks in each (1 in the paper).

    Raises:
        ConfigError: an argument out of range.
    """

    makes_images = True

    def __init__(self, *, width: int = 16, appearance_width: int = 32, edge_width: int = 16, blocks: int = 1):
        super().__init__()
        checks.whole(self, 1, width=width, appearance_width=appearance_width, edge_width=edge_width)
        self.appearance = AppearanceNet(width=appearance_width, blocks=blocks)
        self.edges = AppearanceNet(in_chans=1, out_chans=1, width=edge_width, blocks=blocks)
        self.enhancement = StructureGuidedNet(width=width, blocks=blocks)
        self.register_buffer("luma", paddle.to_tensor(_LUMA).reshape([1, 3, 1, 1]), persistable=False)

    def run(self, x):
        """(y, I0, e) of an image whose sides are multiples of 4, from 8 on."""
        initial = paddle.clip(x + self.appearance.run(x), 0.0, 1.0)
        edges = F.sigmoid(self.edges.run((x * self.luma).sum(axis=1, keepdim=True)))
        change = self.enhancement.run(paddle.concat([initial, x], axis=1), edges)
        return paddle.clip(initial + change, 0.0, 1.0), initial, edges

    def forward(self, x):
        height, width = x.shape[2:]
        outputs = [output[:, :, :height, :width] for output in self.run(padded(x))]
        return tuple(outputs) if self.training else outputs[0]

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes: one stage that takes padded images."""
        from ppcore.deploy import ExportSpec, Padding, Stage

        self.eval()
        stage = Stage("model", _Padded(self), {"x": (None, 3, None, None)}, ("y",))
        return ExportSpec((stage,), padding=Padding(multiple=4, least=8))


class _Padded(nn.Layer):
    """The network on padded images, its first output alone."""

    def __init__(self, model: SMGStyle):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.run(x)[0]

"""UHDFour's training loss (section 3.4), weighted as in the paper or as in the released code."""

from typing import Literal

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.metrics.ssim_loss import ssim_loss
from ppcore.metrics.vgg import load_vgg19

# Weights of the pixels at full size, structure, pixels at low size, perceptual features.
_WEIGHTS = {"code": (5.0, 0.002, 0.5, 0.001), "paper": (1.0, 4e-4, 0.1, 2e-4)}
_TAPS = {"code": ("conv4_4",), "paper": ("conv1_2", "conv2_2", "conv3_4", "conv4_4")}


class UHDFourLoss:
    """Pixels + (1 - SSIM) + pixels of the low-resolution output + perceptual features.

    `code`: 5 · smooth L1 + 0.002 · (1 - SSIM) + 0.5 · smooth L1 (low) + 0.001 · MSE of VGG19's conv4_4.
    `paper`: L1 + 4e-4 · (1 - SSIM) + 0.1 · L1 (low) + 2e-4 · VGG19 at four scales, read here as the sum
    of the mean squared errors of the last convolution of each of the first four scales. The ratios are
    the same; the smooth L1 (beta 1) of the code is half the squared error for images. VGG19 sees images in
    [0, 1], not normalised, and its features are taken before the ReLU, as in the released code.

    Args:
        weighting: see above.
        vgg_weights: torchvision's `vgg19` file (.pth or .safetensors), for the perceptual term.
        perceptual: `false` trains without that term, which is then not the published loss.

    Raises:
        ConfigError: the perceptual term without weights, or outputs that are not the network's pair.
        WeightsError: the file is not VGG19's.
    """

    def __init__(
        self,
        *,
        weighting: Literal["code", "paper"] = "code",
        vgg_weights: str | None = None,
        perceptual: bool = True,
    ):
        if weighting not in _WEIGHTS:
            raise ConfigError(f"Loss.weighting must be code or paper, not {weighting!r}")
        if perceptual and vgg_weights is None:
            raise ConfigError(
                "Loss.vgg_weights: the perceptual term needs torchvision's VGG19 file (vgg19-dcbb9e9d.pth): "
                "name it here, or set Loss.perceptual: false to train without this term"
            )
        self.weighting = weighting
        self.vgg = load_vgg19(vgg_weights, _TAPS[weighting]) if perceptual else None

    def __call__(self, outputs: tuple, batch: dict) -> paddle.Tensor:
        """The loss of (y [B, 3, H, W], y_low [B, 3, H / f, W / f]) against `batch["target"]` [B, 3, H, W]."""
        if not isinstance(outputs, (tuple, list)) or len(outputs) != 2:
            raise ConfigError(
                "ppuhdfour.UHDFourLoss needs the two outputs of UHDFour in training mode: "
                "choose a ppuhdfour network and leave Global.eval_mode_training false"
            )
        y, y_low = (output.astype("float32") for output in outputs)
        target = batch["target"]
        pixels, structure, low, perceptual = _WEIGHTS[self.weighting]
        distance = F.smooth_l1_loss if self.weighting == "code" else F.l1_loss
        loss = pixels * distance(y, target) + structure * ssim_loss(y, target)
        loss = loss + low * distance(y_low, low_target(target, y_low))
        if self.vgg is not None:
            loss = loss + perceptual * self._perceptual(y, target)
        return loss

    def _perceptual(self, y: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
        with paddle.no_grad():
            wanted = self.vgg(target)
        return sum(F.mse_loss(a, b) for a, b in zip(self.vgg(y), wanted, strict=True))


def low_target(target: paddle.Tensor, y_low: paddle.Tensor) -> paddle.Tensor:
    """The reference at the size of y_low: bilinear, half-pixel centres, no antialiasing.

    For an even factor that is the mean of the four central pixels of each tile.

    Raises:
        ConfigError: the sizes are not one whole factor apart.
    """
    (height, width), (small_height, small_width) = target.shape[2:], y_low.shape[2:]
    factor = height // small_height
    if (small_height * factor, small_width * factor) != (height, width):
        raise ConfigError(
            f"a training crop of {height}x{width} is not a multiple of the network's factor "
            f"(its low output is {small_height}x{small_width}): choose a crop that is"
        )
    if factor == 1:
        return target
    return F.interpolate(target, size=[small_height, small_width], mode="bilinear", align_corners=False)

"""What super-resolution minimises: squared differences of pixels, and of VGG19's features."""

from typing import Literal

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppcore.metrics.vgg import CONVS, load_vgg19

# ImageNet's, which torchvision's VGG19 has seen its images normalised with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SquaredError:
    """The squared difference of an output [B, C, H, W] and the target, or of its middle where the output is smaller.

    Args:
        output_at: rows and columns of the output to leave out before the part of the target's size that is compared, where
            the output is larger: FSRCNN's labels begin where its first kernel stands, 1 at x3 and 0 at x2 and x4.
        reduction: `mean` over all values; `sum` of them (pytorch-vdsr); `per_image`: half the sum of an image, the mean over
            the images (VDSR's paper).

    Raises:
        ConfigError: another reduction; or the output cannot be the middle of the target.
    """

    def __init__(self, *, reduction: Literal["mean", "sum", "per_image"] = "mean", output_at: int | None = None):
        checks.choice(self, ("mean", "sum", "per_image"), reduction=reduction)
        checks.whole(self, 0, optional=True, output_at=output_at)
        self.reduction, self.output_at = reduction, output_at

    def __call__(self, outputs: paddle.Tensor, batch: dict) -> paddle.Tensor:
        """The loss of outputs against `batch["target"]`, a scalar."""
        y, target = outputs, batch["target"]
        y = y if y.dtype == paddle.float64 else y.astype("float32")
        if self.output_at is not None:
            y = window(y, target, self.output_at)
        squares = paddle.square(y - middle(target, y))
        if self.reduction == "mean":
            return squares.mean()
        return squares.sum() if self.reduction == "sum" else 0.5 * squares.sum() / y.shape[0]


def window(y: paddle.Tensor, target: paddle.Tensor, at: int) -> paddle.Tensor:
    """The part of y [B, C, H, W] that has the target's size and begins at row and column `at`.

    Raises:
        ConfigError: it would reach beyond y.
    """
    height, width = target.shape[2:]
    if at + height > y.shape[2] or at + width > y.shape[3]:
        raise ConfigError(
            f"ppsr losses: the target {list(target.shape)} does not fit into the output {list(y.shape)} from Loss.output_at = {at} "
            "on: choose the label of DataLoader.Train.dataset to fit"
        )
    return y[:, :, at : at + height, at : at + width]


def middle(target: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
    """The part of a target [B, C, H, W] that lies in the middle, of the size of y.

    Raises:
        ConfigError: other channels, or rows or columns that would not come off evenly.
    """
    if target.shape == y.shape:
        return target
    off = [large - small for large, small in zip(target.shape[2:], y.shape[2:], strict=True)]
    if target.shape[:2] != y.shape[:2] or min(off) < 0 or any(pixels % 2 for pixels in off):
        raise ConfigError(
            f"ppsr losses: the output {list(y.shape)} is not the middle of the target {list(target.shape)}: choose crops of the "
            "target that are the network's scale times the image's"
        )
    top, left = (pixels // 2 for pixels in off)
    return target[:, :, top : top + y.shape[2], left : left + y.shape[3]]


class ContentLoss:
    """SRGAN's content loss: the mean squared difference of VGG19's features after their ReLU, and of pixels if wanted.

    content · mean((scale·φ(y) - scale·φ(target))²) + pixel · mean((y - target)²). Images are RGB in [0, 1], and normalised
    with ImageNet's statistics before VGG19 sees them. The gradient passes through VGG19 to y.

    The paper's: conv5_4 (VGG54) with features scaled by 1/12.75, no pixels. Lornatang's code: scale 1 and pixel 1 - whose
    content term, though, has no gradient there, so that what it trained is `ppsr.SquaredError`.

    Args:
        vgg_weights: torchvision's `vgg19` file (.pth or .safetensors).
        tap: the convolution whose ReLU is compared: conv5_4 is the paper's VGG54, conv2_2 its VGG22.
        scale: of the features.
        content: weight of their difference.
        pixel: weight of the pixels' difference.

    Raises:
        ConfigError: no file, an unknown tap, or a weight that is negative.
        WeightsError: the file is not VGG19's.
    """

    def __init__(
        self,
        *,
        vgg_weights: str | None = None,
        tap: str = "conv5_4",
        scale: float = 1 / 12.75,
        content: float = 1.0,
        pixel: float = 0.0,
    ):
        checks.positive(self, scale=scale, content=content)
        checks.number(self, pixel=pixel)
        if pixel < 0:
            checks.fail(self, "pixel", pixel, "a number from 0 on")
        checks.choice(self, tuple(CONVS), tap=tap)
        if vgg_weights is None:
            raise ConfigError(
                "Loss.vgg_weights: the content loss needs torchvision's VGG19 file (vgg19-dcbb9e9d.pth): name it here, or "
                "train without it by Loss: {name: ppsr.SquaredError}"
            )
        self.vgg = load_vgg19(vgg_weights, (tap,))
        self.scale, self.content, self.pixel = scale, content, pixel

    def __call__(self, outputs: paddle.Tensor, batch: dict) -> paddle.Tensor:
        """The loss of outputs [B, 3, H, W] against `batch["target"]`, a scalar."""
        y = outputs.astype("float32")
        target = middle(batch["target"], y)
        with paddle.no_grad():
            wanted = self.features(target)
        loss = self.content * F.mse_loss(self.features(y), wanted)
        return loss + self.pixel * F.mse_loss(y, target) if self.pixel else loss

    def features(self, image: paddle.Tensor) -> paddle.Tensor:
        """Scaled features of RGB in [0, 1], [B, 3, H, W]."""
        mean, std = (paddle.to_tensor(values).reshape([1, 3, 1, 1]) for values in (MEAN, STD))
        return self.scale * F.relu(self.vgg((image - mean) / std)[0])


def adversarial(logits: paddle.Tensor, real: bool) -> paddle.Tensor:
    """Mean binary cross-entropy of a discriminator's logits with all images real, or all made; a scalar.

    With `real`, it is the mean of -log D.
    """
    return F.softplus(-logits if real else logits).mean()  # a logarithm of a sigmoid may be infinite

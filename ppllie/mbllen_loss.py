"""MBLLEN's training loss: pixels, structure, context and region (Lv et al., BMVC 2018), as its released code adds them up."""

from typing import Literal

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.metrics.ssim_loss import ssim_loss
from ppcore.metrics.vgg import load_vgg19

LUMA = (0.39, 0.5, 0.11)  # of R, G, B, in the region loss
DARK, WEIGHT = 0.4, 4.0  # the darkest share of the pixels, and how often each of them counts


class MBLLENLoss:
    """MAE + Σ over R, G, B of (1 - SSIM) + context / 3 + region.

    SSIM: Gaussian window 11×11, sigma 1.5, windows inside the image. Context: mean |φ(2p - 1) - φ(2t - 1)|, φ being
    VGG19's last convolution of the third scale (Keras's `block3_conv4`, torchvision's `features.16`) after
    its ReLU; VGG sees RGB in [-1, 1]. The released code takes Keras's weights of VGG19; torchvision's are those of
    another training of the same network.

    Region: the absolute error in which the darkest 40 % of an image's pixels, by luma of the prediction, count 4 times
    (`fixed`, what the paper describes). The released code forgets a sign, so that hardly ever a pixel counts as dark, and
    the term is a second MAE; `code` is that.

    Args:
        region: see above.
        vgg_weights: torchvision's `vgg19` file (.pth or .safetensors), for the context term.
        context: `false` trains without that term, which is then not the published loss.

    Raises:
        ConfigError: the context term without weights, or the other way round.
        WeightsError: the file is not VGG19's.
    """

    def __init__(
        self, *, region: Literal["code", "fixed"] = "code", vgg_weights: str | None = None, context: bool = True
    ):
        if region not in ("code", "fixed"):
            raise ConfigError(f"Loss.region must be code or fixed, not {region!r}")
        if context and vgg_weights is None:
            raise ConfigError(
                "Loss.vgg_weights: the context term needs torchvision's VGG19 file (vgg19-dcbb9e9d.pth): "
                "name it here, or set Loss.context: false to train without this term"
            )
        if not context and vgg_weights is not None:
            raise ConfigError("Loss.vgg_weights: without the context term they are not read; leave them out")
        self.region = region
        self.vgg = load_vgg19(vgg_weights, ("conv3_4",)) if context else None

    def __call__(self, outputs: paddle.Tensor, batch: dict) -> paddle.Tensor:
        """The loss of outputs [B, 3, H, W] against `batch["target"]`, H and W >= 11."""
        if isinstance(outputs, (tuple, list)):
            raise ConfigError("ppllie.mbllen_loss.MBLLENLoss takes one image, and the network gives several outputs")
        y, target = outputs.astype("float32"), batch["target"]
        loss = loss_without_context(y, target, self.region)
        return loss if self.vgg is None else loss + context_loss(self.vgg, y, target) / 3.0


def loss_without_context(y: paddle.Tensor, target: paddle.Tensor, form: Literal["code", "fixed"]) -> paddle.Tensor:
    """MAE, structure and region of [B, 3, H, W], a scalar."""
    return F.l1_loss(y, target) + 3.0 * ssim_loss(y, target, border="crop") + region_loss(y, target, form)


def region_loss(y: paddle.Tensor, target: paddle.Tensor, form: Literal["code", "fixed"]) -> paddle.Tensor:
    """mean((1 + 3 m) |y - target|), m being 1 on the dark pixels of y, a scalar."""
    with paddle.no_grad():
        mask = dark_pixels(y, form)
    return ((1.0 + (WEIGHT - 1.0) * mask) * (y - target).abs()).mean()


def dark_pixels(y: paddle.Tensor, form: Literal["code", "fixed"]) -> paddle.Tensor:
    """1 on the pixels of [B, 3, H, W] whose luma is at most the threshold, else 0: [B, 1, H, W].

    `fixed`: the threshold is the luma of the pixel in place ⌊0.4 HW - 1⌋, 0 being the darkest. `code`: minus it, which
    holds where 40 % of the image are black and otherwise nowhere.
    """
    luma = sum(weight * y[:, i] for i, weight in enumerate(LUMA))  # [B, H, W]
    place = max(int(luma.shape[1] * luma.shape[2] * DARK - 1), 0)
    threshold = paddle.sort(luma.flatten(1), axis=1)[:, place].reshape([-1, 1, 1])
    return (luma <= (threshold if form == "fixed" else -threshold)).astype(y.dtype).unsqueeze(1)


def context_loss(vgg: paddle.nn.Layer, y: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
    """mean |φ(2y - 1) - φ(2t - 1)|, φ being the one tap of `vgg` after its ReLU; a scalar."""
    with paddle.no_grad():
        [wanted] = vgg(2.0 * target - 1.0)
    [found] = vgg(2.0 * y - 1.0)
    return F.l1_loss(F.relu(found), F.relu(wanted))

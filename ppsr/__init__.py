"""Super-resolution: SRCNN, FSRCNN, VDSR, SRResNet and SRGAN."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppsr.adversarial_task import SRGAN
from ppsr.bicubic import Bicubic
from ppsr.clipping import ClippedByRate
from ppsr.degraded_images import DegradedImages, ImagesOf
from ppsr.discriminator import Discriminator, discriminator
from ppsr.fsrcnn import FSRCNN, fsrcnn, fsrcnn_s
from ppsr.luma_quality import LumaQuality
from ppsr.sr_losses import ContentLoss, SquaredError
from ppsr.srcnn import SRCNN, srcnn_915, srcnn_935, srcnn_955
from ppsr.srresnet import SRResNet, srresnet
from ppsr.sub_images import RandomPatch, SubImages
from ppsr.vdsr import VDSR, vdsr

__all__ = [
    "FSRCNN", "SRCNN", "SRGAN", "VDSR", "Bicubic", "ClippedByRate", "ContentLoss", "DegradedImages", "Discriminator",
    "ImagesOf", "LumaQuality", "RandomPatch", "SRResNet", "SquaredError", "SubImages", "discriminator", "fsrcnn",
    "fsrcnn_s", "srcnn_915", "srcnn_935", "srcnn_955", "srresnet", "vdsr",
]  # fmt: skip

"""Super-resolution: SRCNN, FSRCNN, VDSR, SRResNet and SRGAN."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppsr.adversarial_task import SRGAN
from ppsr.clipping import ClippedByRate
from ppsr.discriminator import Discriminator, discriminator
from ppsr.fsrcnn import FSRCNN, fsrcnn, fsrcnn_s
from ppsr.sr_losses import ContentLoss, SquaredError
from ppsr.srcnn import SRCNN, srcnn_915, srcnn_935, srcnn_955
from ppsr.srresnet import SRResNet, srresnet
from ppsr.vdsr import VDSR, vdsr

__all__ = [
    "FSRCNN", "SRCNN", "SRGAN", "VDSR", "ClippedByRate", "ContentLoss", "Discriminator", "SRResNet", "SquaredError",
    "discriminator", "fsrcnn", "fsrcnn_s", "srcnn_915", "srcnn_935", "srcnn_955", "srresnet", "vdsr",
]  # fmt: skip

"""Super-resolution: SRCNN, FSRCNN, VDSR, SRResNet and SRGAN."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppsr.bicubic import Bicubic
from ppsr.degraded_images import DegradedImages, ImagesOf
from ppsr.luma_quality import LumaQuality
from ppsr.sub_images import RandomPatch, SubImages

__all__ = ["Bicubic", "DegradedImages", "ImagesOf", "LumaQuality", "RandomPatch", "SubImages"]

"""Super-resolution of single images: SRCNN, FSRCNN, VDSR, SRResNet and SRGAN."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppsr.networks import *  # noqa: F403

"""Super-resolution: SRCNN, FSRCNN, VDSR, SRResNet and SRGAN."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)

"""Low-light image enhancement beside UHDFour: MBLLEN, and `ppllie.classical`, the methods without training.

`Arch: {name: ppllie.classical.LIME}` in a configuration, or `ppllie.classical.LIME()(images)`, float32 [B, 3, H, W].
"""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppllie import classical
from ppllie.mbllen import MBLLEN

__all__ = ["MBLLEN", "classical"]

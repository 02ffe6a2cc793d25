"""Low-light image enhancement beside UHDFour: `ppllie.classical`, the methods without training.

`Arch: {name: ppllie.classical.LIME}` in a configuration, or `ppllie.classical.LIME()(images)`, float32 [B, 3, H, W].
"""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppllie import classical, exposures
from ppllie.pairlie import PairLIE
from ppllie.pairlie_loss import PairLIELoss
from ppllie.pairlie_task import ExposurePairs

__all__ = ["ExposurePairs", "PairLIE", "PairLIELoss", "classical", "exposures"]

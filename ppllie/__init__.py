"""Low-light image enhancement: PairLIE, MBLLEN, and `ppllie.classical`, the methods without training.

`Arch: {name: ppllie.classical.LIME}` in a configuration, or `ppllie.classical.LIME()(images)`, float32 [B, 3, H, W].
"""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppllie import classical, exposures
from ppllie.mbllen import MBLLEN
from ppllie.pairlie import PairLIE
from ppllie.pairlie_loss import PairLIELoss
from ppllie.pairlie_task import ExposurePairs
from ppllie.semantic_embedding import SemanticEmbedding
from ppllie.skf_histogram import SemanticHistogramLoss
from ppllie.smg_loss import SMGStyleLoss
from ppllie.smg_style import SMGStyle

__all__ = [
    "MBLLEN",
    "ExposurePairs",
    "PairLIE",
    "PairLIELoss",
    "SMGStyle",
    "SMGStyleLoss",
    "SemanticEmbedding",
    "SemanticHistogramLoss",
    "classical",
    "exposures",
]

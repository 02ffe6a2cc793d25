"""pplit: HiLo attention and LITv2 on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from pplit.hilo import HiLo
from pplit.litv2 import LITv2, litv2_base, litv2_base_384, litv2_medium, litv2_small

__all__ = ["HiLo", "LITv2", "litv2_base", "litv2_base_384", "litv2_medium", "litv2_small"]

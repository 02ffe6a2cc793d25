"""ppuhdfour: UHDFour on PaddlePaddle, and the classical methods beside it."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppuhdfour.losses import UHDFourLoss
from ppuhdfour.uhdfour import UHDFour, uhdfour, uhdfour_lol

__all__ = ["UHDFour", "UHDFourLoss", "uhdfour", "uhdfour_lol"]

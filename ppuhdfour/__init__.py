"""ppuhdfour: UHDFour on PaddlePaddle, and the classical methods beside it."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppuhdfour.uhdfour import UHDFour, uhdfour, uhdfour_lol
from ppuhdfour.uhdfour_loss import UHDFourLoss

__all__ = ["UHDFour", "UHDFourLoss", "uhdfour", "uhdfour_lol"]

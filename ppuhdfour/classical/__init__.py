"""Classical low-light enhancement: no training, the rows every learned method is set beside."""

from ppuhdfour.classical.dark_channel import DarkChannel
from ppuhdfour.classical.histogram import CLAHE, HistogramEqualization
from ppuhdfour.classical.lime import LIME
from ppuhdfour.classical.method import ClassicalMethod, Gamma, Identity
from ppuhdfour.classical.retinex import Retinex

__all__ = [
    "CLAHE",
    "LIME",
    "ClassicalMethod",
    "DarkChannel",
    "Gamma",
    "HistogramEqualization",
    "Identity",
    "Retinex",
]

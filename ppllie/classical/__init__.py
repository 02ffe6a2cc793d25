"""Classical low-light enhancement: no training, the rows every learned method is set beside."""

from ppllie.classical.dark_channel import DarkChannel
from ppllie.classical.histogram import CLAHE, HistogramEqualization
from ppllie.classical.lime import LIME
from ppllie.classical.method import ClassicalMethod, Gamma, Identity
from ppllie.classical.retinex import Retinex

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

"""Pretrained weights: in from the formats people publish, out to the ones they load; and a run's checkpoints."""

from ppcore.weights.conversion import WeightMap, check_output, convert, export, load, save
from ppcore.weights.description import Description
from ppcore.weights.files import read, save_arrays
from ppcore.weights.fitting import Fitting
from ppcore.weights.pretrained import freeze, load_pretrained

__all__ = [
    "Description", "Fitting", "WeightMap", "check_output", "convert", "export", "freeze", "load", "load_pretrained", "read", "save", "save_arrays",
]  # fmt: skip

"""Keras's weight files of the HDF5 kind (.h5), read with h5py: names and arrays, and nothing else of the file."""

import importlib.util

import numpy as np

from ppcore.errors import WeightsError
from ppcore.weights.limits import Allowance


def load_hdf5(allowance: Allowance) -> dict[str, np.ndarray]:
    """The arrays of a file of `save_weights` or `save`, by the names their layers gave them: `conv2d_1/kernel:0`.

    Those names are a layer's attribute `weight_names`; arrays that no layer names are left out. External files, and
    filters other than HDF5's own, are not followed.

    Raises:
        WeightsError: h5py is not installed, or the file names no weights.
    """
    if importlib.util.find_spec("h5py") is None:
        raise WeightsError(f"{allowance.path}: reading .h5 needs h5py: pip install h5py, or take a .safetensors file")
    import h5py

    arrays = {}
    with h5py.File(allowance.path, "r") as file:
        for layer in file.get("model_weights", file).values():
            for name in layer.attrs.get("weight_names", ()):
                name = name.decode() if isinstance(name, bytes) else str(name)
                link = layer.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink) or not isinstance(layer[name], h5py.Dataset):
                    raise WeightsError(f"{allowance.path}: {name} is no array of this file")
                if layer[name].external or layer[name].is_virtual:
                    raise WeightsError(f"{allowance.path}: {name} lies in another file")
                allowance.spend(layer[name].nbytes)
                arrays[name] = np.asarray(layer[name])
    if not arrays:
        raise WeightsError(f"{allowance.path}: no layer of it names its weights")
    return arrays

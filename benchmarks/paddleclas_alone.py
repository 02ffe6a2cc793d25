"""Networks of PaddleClas without the rest of it: its package imports what a network does not need; its `ppcls` does not."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def network(spec: Mapping[str, Any], sizes: Mapping[str, int], weights: str | None = None) -> Any:
    """A network of PaddleClas.

    Args:
        spec: `module` and `name` of its class, arguments, and under `then` what is set afterwards: path of an attribute and value.
        sizes: `img_size` and `class_num`.
        weights: an .npz in PaddleClas's layout, or None for random ones. It may lack arrays of whole numbers alone: an index is
            no weight.

    Raises:
        ModuleNotFoundError: it is not installed.
        ValueError: the weights do not fit.
    """
    found = importlib.util.find_spec("paddleclas")
    if found is None:
        raise ModuleNotFoundError("No module named 'paddleclas'", name="paddleclas")
    sys.path.insert(0, str(Path(found.origin).parent))
    rest = dict(spec)
    module, name, then = rest.pop("module"), rest.pop("name"), rest.pop("then", {})
    model = getattr(importlib.import_module(module), name)(**sizes, **rest)
    for path, value in then.items():
        *owners, last = path.split(".")
        owner = model
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, last, value)
    if weights is not None:
        _load(model, weights)
    return model


def _load(model: Any, weights: str) -> None:
    with np.load(weights) as arrays:
        missing, unexpected = model.set_state_dict(dict(arrays))
    state = model.state_dict()
    missing = [name for name in missing if np.issubdtype(state[name].numpy().dtype, np.floating)]
    if missing or unexpected:
        raise ValueError(f"weights do not fit: missing {missing}, unexpected {unexpected}")

"""Everything that a checkpoint holds, as arrays to compare."""

import numpy as np
import paddle.nn as nn

from ppcore.ema import EMA
from ppcore.weights import checkpoints


def everything(model: nn.Layer, optimizer, ema: EMA) -> dict[str, np.ndarray]:
    """Weights, average, masters and accumulators; the weights themselves, not what a hook makes of them."""
    return {
        **{f"model/{name}": checkpoints.as_array(t) for name, t in model.state_dict(use_hook=False).items()},
        **{f"ema/{name}": t.numpy() for name, t in ema.shadow.items()},
        **{f"opt/{name}": array for name, array in checkpoints.optimizer_arrays(model, optimizer).items()},
    }


def assert_same(got: dict, want: dict) -> None:
    """The same names, types and bits."""
    assert set(got) == set(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)

"""Everything that a checkpoint holds, as arrays to compare."""

import numpy as np

from ppcore.weights.training_state import TrainingState


def everything(training: TrainingState) -> dict[str, np.ndarray]:
    """Weights of all networks, average, masters and accumulators."""
    return {f"{file}/{name}": array for file, arrays in training.arrays().items() for name, array in arrays.items()}


def assert_same(got: dict, want: dict) -> None:
    """The same names, types and bits."""
    assert set(got) == set(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)

"""The `mbllen` layout: the Keras arrays of the authors' files, as .safetensors or .h5.

Their layers are numbered through: of branch i (0 to 9) `conv2d_{5i+1}` is the feature convolution it stands on,
`conv2d_{5i+2}` to `_{5i+5}` and `conv2d_transpose_{3i+1}` to `_{3i+3}` are its own; `conv2d_51` is the fusion. The order
inside a file is another. Kernels are (height, width, in, out), transposed ones (height, width, out, in); moving the last
two axes to the front gives Paddle's layout of either.
"""

from paddle import nn

from ppcore.weights import WeightMap
from ppcore.weights.layouts import VECTOR, Arrays, Kind, Table, load, store

_KERNEL = Kind(4, lambda a: a.transpose(3, 2, 0, 1), lambda a, model: a.transpose(2, 3, 1, 0))


def _layer(ours: str, theirs: str) -> Table:
    ours = ours.replace(".", r"\.")
    return [(rf"{ours}\.weight", f"{theirs}/kernel:0", _KERNEL), (rf"{ours}\.bias", f"{theirs}/bias:0", VECTOR)]


def table(branches: int) -> Table:
    """The table of a network with so many branches."""
    rows: Table = []
    for i in range(branches):
        rows += _layer(f"features.{i}", f"conv2d_{5 * i + 1}")
        for j in range(4):
            rows += _layer(f"branches.{i}.convs.{j}", f"conv2d_{5 * i + 2 + j}")
        for j in range(3):
            rows += _layer(f"branches.{i}.deconvs.{j}", f"conv2d_transpose_{3 * i + 1 + j}")
    return rows + _layer("fusion", f"conv2d_{5 * branches + 1}")


def weight_maps() -> dict[str, WeightMap]:
    """The layouts `ppcore.weights` reaches through the model."""
    return {"mbllen": WeightMap(_load, _store, framework="np", heads=())}


def _load(arrays: Arrays, model: nn.Layer) -> Arrays:
    return load(table(len(model.branches)), arrays, model)


def _store(state: Arrays, model: nn.Layer) -> Arrays:
    return store(table(len(model.branches)), state, model, "mbllen")

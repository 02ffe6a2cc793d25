"""The official UHDFour layout: names of the released checkpoints, and the tensors in them that no forward pass uses."""

import re

import numpy as np
from paddle import nn

from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, VECTOR, Arrays, Kind, Table, load, store

# The two "up" layers are 1x1 transposed convolutions there, stored (in, out, 1, 1).
_SWAPPED = Kind(4, lambda a: a.transpose(1, 0, 2, 3), lambda a, model: a.transpose(1, 0, 2, 3))

_LOW = {
    "conv_in": "conv0", "down1": "downsample1", "down2": "downsample2", "conv_out": "convout",
    "to_image": "convoutfinal", "amplitude": "transamp", "phase": "transpha",
}  # fmt: skip
_HIGH = {"conv_out": "convout", "fuse": "trans"}
_FREQUENCY = {
    "amplitude.conv1": "processmag.0", "amplitude.conv2": "processmag.2",
    "phase.conv1": "processpha.0", "phase.conv2": "processpha.2",
    "sft.multiply": "sft.convmul", "sft.add": "sft.convadd", "sft.fuse": "sft.convfuse", "merge_phase": "cat",
}  # fmt: skip
# Built by the released code, never called: in every block two convolutions; whole blocks and
# convolutions of the high-resolution part that only the other variant runs.
UNUSED = (
    r"(low|high)net\.conv\d\.(frequency_spatial|spatial_frequency)\.(weight|bias)",
    r"highnet\.conv[34]\..+",
    r"highnet\.con_temp[12]\.(weight|bias)",
)


def _pair(ours: str, theirs: str, kind: Kind = CONV) -> Table:
    ours = ours.replace(".", r"\.")
    return [(rf"{ours}\.weight", f"{theirs}.weight", kind), (rf"{ours}\.bias", f"{theirs}.bias", VECTOR)]


def block_table(ours: str, theirs: str) -> Table:
    """A block's table."""
    table: Table = []
    for unit in "fgh":
        mine, other = f"{ours}.spatial.{unit}", f"{theirs}.spatial_process.block.{unit.upper()}"
        for a, b in (("conv1", "conv_1"), ("conv2", "conv_2"), ("identity", "identity")):
            table += _pair(f"{mine}.{a}", f"{other}.{b}")
        table += _pair(f"{mine}.norm", f"{other}.norm", VECTOR)
    for a, b in _FREQUENCY.items():
        table += _pair(f"{ours}.frequency.{a}", f"{theirs}.frequency_process.{b}")
    return table + _pair(f"{ours}.merge", f"{theirs}.cat")


def _table(tail: int) -> Table:
    table = _pair("extract", "extract")
    for number in range(1, 6):
        table += block_table(f"low.block{number}", f"lownet.conv{number}")
    for a, b in _LOW.items():
        table += _pair(f"low.{a}", f"lownet.{b}")
    for level in ("up1", "up2"):
        table += _pair(f"low.{level}", f"lownet.{level}", _SWAPPED)
    for a, b in {"adjust": "conv1", "refine.0": "conv3", "refine.1": "conv4"}.items():
        table += block_table(f"high.{a}", f"highnet.{b}")
    for a, b in _HIGH.items():
        table += _pair(f"high.{a}", f"highnet.{b}")
    for place in range(tail):  # one convolution is the released code's third
        table += _pair(f"high.tail.{place}", f"highnet.con_temp{4 - tail + place}")
    return table


def _load(arrays: Arrays, model: nn.Layer) -> Arrays:
    # Saved from DataParallel, the released files prefix every name.
    arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    table = _table(len(model.high.tail))
    found = load(table, arrays, model)
    own = model.state_dict()
    return {name: a for name, a in found.items() if name in own or not _is_unused(name)}


def _is_unused(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in UNUSED)


def _store(state: dict[str, np.ndarray], model: nn.Layer) -> Arrays:
    return store(_table(len(model.high.tail)), state, model, "uhdfour")


def weight_maps() -> dict[str, WeightMap]:
    """The layouts `ppcore.weights` reaches through the model."""
    return {"uhdfour": WeightMap(_load, _store, framework="pt", heads=())}

"""Weight layouts of super-resolution: the authors' MATLAB arrays, and the names of well-known PyTorch codes.

- `srcnn`: `weights_conv1` (81, n1), `weights_conv2` (n1, k·k, n2), `weights_conv3` (n2, 25), `biases_conv1` (n1, 1), …; the
  k·k pixels of a kernel column by column, as MATLAB counts. A file of several such networks (`9-5-5(ImageNet)/x3/…`) needs
  `key`, here `9-5-5(ImageNet)/x3`.
- `fsrcnn`: `weights_conv/1` (in, k·k, out), …, the last one (1, 81, d); `biases_conv/1` (out, 1); `prelu_conv/1` (1, 1).
  `key` as above, such as `FSRCNN-s/x2`.
- `vdsr`: `weight/1` (height, width, in, out), `bias/1` (out, 1), …
- `yjn870` (SRCNN-pytorch, FSRCNN-pytorch), `pytorch_vdsr` (twtygqyy), `lornatang` (SRGAN-PyTorch), `leftthomas` (SRGAN).
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights import WeightMap
from ppcore.weights.files import Arrays
from ppcore.weights.layouts import CONV, TRANSPOSED, VECTOR, Kind, Table, load, store

COLUMN = Kind(2, lambda a: a.reshape(-1), lambda a, model: a.reshape(-1, 1))


def _square(a: np.ndarray) -> np.ndarray:
    """[..., k·k] column by column -> [..., k, k]."""
    side = math.isqrt(a.shape[-1])
    if side * side != a.shape[-1]:
        return a  # no kernel: the shape tells in the report of misfits
    return a.reshape(*a.shape[:-1], side, side).swapaxes(-1, -2)


def _columns(a: np.ndarray) -> np.ndarray:
    """[..., k, k] -> [..., k·k] column by column."""
    return a.swapaxes(-1, -2).reshape(*a.shape[:-2], -1)


_FIRST = Kind(2, lambda a: _square(a.T)[:, None], lambda a, model: _columns(a[:, 0]).T)  # (k·k, out)
_LAST = Kind(2, lambda a: _square(a)[None], lambda a, model: _columns(a[0]))  # (in, k·k)
# (in, k·k, out); Paddle's transposed convolution holds what is wide before its one output, as the file's last array does.
_INNER = Kind(3, lambda a: _square(a.transpose(2, 0, 1)), lambda a, model: _columns(a).transpose(1, 2, 0))
_MATCONVNET = Kind(4, lambda a: a.transpose(3, 2, 0, 1), lambda a, model: a.transpose(2, 3, 1, 0))


def _layer(ours: str, theirs: str, *, bias: bool = True) -> Table:
    """A convolution of the same layout."""
    ours = ours.replace(".", r"\.")
    table: Table = [(rf"{ours}\.weight", f"{theirs}.weight", CONV)]
    return [*table, (rf"{ours}\.bias", f"{theirs}.bias", VECTOR)] if bias else table


def _norm(ours: str, theirs: str) -> Table:
    ours = ours.replace(".", r"\.")
    parts = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}
    return [(rf"{ours}\.{mine}", f"{theirs}.{other}", VECTOR) for mine, other in parts.items()]


def _slope(ours: str, theirs: str) -> Table:
    return [(ours.replace(".", r"\.") + r"\._weight", f"{theirs}.weight", VECTOR)]


TableOf = Callable[[nn.Layer], Table]


def _map(table_of: TableOf, layout: str, framework: Literal["pt", "np"] = "pt", first: str | None = None) -> WeightMap:
    """The map of a table that depends on the network's size.

    How many batches a norm of PyTorch's has seen is left out. With `first`, a name that a file has for one network, a file of
    several says what `key` may be.
    """

    def to_paddle(arrays: Arrays, model: nn.Layer) -> Arrays:
        keys = [name.removesuffix(f"/{first}") for name in arrays if first and name.endswith(f"/{first}")]
        if keys and first not in arrays:
            raise WeightsError(
                f"it holds several networks: say which to take with --key (or `key:`): {', '.join(keys)}"
            )
        return load(table_of(model), {n: a for n, a in arrays.items() if not n.endswith(".num_batches_tracked")}, model)

    def from_paddle(state: Arrays, model: nn.Layer) -> Arrays:
        return store(table_of(model), state, model, layout)

    return WeightMap(to_paddle, from_paddle, framework=framework, heads=())


def srcnn_maps() -> dict[str, WeightMap]:
    """The layouts of `ppsr.SRCNN`."""
    table: Table = [
        (rf"conv{place}\.weight", f"weights_conv{place}", kind)
        for place, kind in ((1, _FIRST), (2, _INNER), (3, _LAST))
    ]
    table += [(r"conv(\d)\.bias", "biases_conv{0}", COLUMN)]
    same = [row for place in (1, 2, 3) for row in _layer(f"conv{place}", f"conv{place}")]
    return {
        "srcnn": _map(lambda model: table, "srcnn", "np", "weights_conv1"),
        "yjn870": _map(lambda model: same, "yjn870"),
    }


def fsrcnn_maps() -> dict[str, WeightMap]:
    """The layouts of `ppsr.FSRCNN`."""
    return {
        "fsrcnn": _map(lambda model: _fsrcnn(len(model.convs)), "fsrcnn", "np", "weights_conv/1"),
        "yjn870": _map(lambda model: _fsrcnn_yjn870(len(model.convs)), "yjn870"),
    }


def _fsrcnn(convs: int) -> Table:
    """Of a network with so many convolutions before the transposed one."""
    return [
        (r"convs\.(\d+)\.weight", "weights_conv/{next[0]}", _INNER),
        (r"convs\.(\d+)\.bias", "biases_conv/{next[0]}", COLUMN),
        (r"slopes\.(\d+)\._weight", "prelu_conv/{next[0]}", COLUMN),
        (r"deconv\.weight", f"weights_conv/{convs + 1}", _INNER),
        (r"deconv\.bias", f"biases_conv/{convs + 1}", COLUMN),
    ]


def _fsrcnn_yjn870(convs: int) -> Table:
    """There a convolution and its PReLU count as two layers: the first two are one part, all others another."""
    table = _layer("deconv", "last_part")
    for place in range(convs):
        part, number = ("first_part", 0) if place == 0 else ("mid_part", 2 * (place - 1))
        table += _layer(f"convs.{place}", f"{part}.{number}") + _slope(f"slopes.{place}", f"{part}.{number + 1}")
    return table


def vdsr_maps() -> dict[str, WeightMap]:
    """The layouts of `ppsr.VDSR`."""
    table: Table = [
        (r"convs\.(\d+)\.weight", "weight/{next[0]}", _MATCONVNET),
        (r"convs\.(\d+)\.bias", "bias/{next[0]}", COLUMN),
    ]
    return {
        "vdsr": _map(lambda model: table, "vdsr", "np"),
        "pytorch_vdsr": _map(lambda model: _pytorch_vdsr(len(model.convs)), "pytorch_vdsr"),
    }


def _pytorch_vdsr(depth: int) -> Table:
    table = _layer("convs.0", "input", bias=False) + _layer(f"convs.{depth - 1}", "output", bias=False)
    for place in range(1, depth - 1):
        table += _layer(f"convs.{place}", f"residual_layer.{place - 1}.conv", bias=False)
    return table


def srresnet_maps() -> dict[str, WeightMap]:
    """The layouts of `ppsr.SRResNet`, each for one of its forms."""
    return {
        "lornatang": _map(lambda model: _lornatang(len(model.residual), len(model.doublings)), "lornatang"),
        "leftthomas": _map(lambda model: _leftthomas(len(model.residual), len(model.doublings)), "leftthomas"),
    }


def _lornatang(blocks: int, doublings: int) -> Table:
    table = _layer("entry", "conv1.0") + _slope("entry_slope", "conv1.1")
    for i in range(blocks):
        ours, theirs = f"residual.{i}", f"trunk.{i}.rcb"
        table += _layer(f"{ours}.conv1", f"{theirs}.0", bias=False) + _norm(f"{ours}.norm1", f"{theirs}.1")
        table += _slope(f"{ours}.slope", f"{theirs}.2")
        table += _layer(f"{ours}.conv2", f"{theirs}.3", bias=False) + _norm(f"{ours}.norm2", f"{theirs}.4")
    table += _layer("fuse", "conv2.0", bias=False) + _norm("fuse_norm", "conv2.1")
    for i in range(doublings):
        theirs = f"upsampling.{i}.upsample_block"
        table += _layer(f"doublings.{i}.conv", f"{theirs}.0") + _slope(f"doublings.{i}.slope", f"{theirs}.2")
    return table + _layer("exit", "conv3")


def _leftthomas(blocks: int, doublings: int) -> Table:
    """Numbered through from 1: entry, blocks, fusion, and all that enlarges in one."""
    table = _layer("entry", "block1.0") + _slope("entry_slope", "block1.1")
    for i in range(blocks):
        ours, theirs = f"residual.{i}", f"block{i + 2}"
        for part in (1, 2):
            table += _layer(f"{ours}.conv{part}", f"{theirs}.conv{part}")
            table += _norm(f"{ours}.norm{part}", f"{theirs}.bn{part}")
        table += _slope(f"{ours}.slope", f"{theirs}.prelu")
    table += _layer("fuse", f"block{blocks + 2}.0") + _slope("fuse_norm", f"block{blocks + 2}.1")
    for i in range(doublings):
        theirs = f"block{blocks + 3}.{i}"
        table += _layer(f"doublings.{i}.conv", f"{theirs}.conv") + _slope(f"doublings.{i}.slope", f"{theirs}.prelu")
    return table + _layer("exit", f"block{blocks + 3}.{doublings}")


def discriminator_maps() -> dict[str, WeightMap]:
    """The layout of a `ppsr.Discriminator`."""
    table = _layer("features.0", "features.0")
    for place in range(7):
        number = 2 + 3 * place
        table += _layer(f"features.{number}", f"features.{number}", bias=False)
        table += _norm(f"features.{number + 1}", f"features.{number + 1}")
    for place in (0, 2):
        table += [(rf"classifier\.{place}\.weight", f"classifier.{place}.weight", TRANSPOSED)]
        table += [(rf"classifier\.{place}\.bias", f"classifier.{place}.bias", VECTOR)]
    return {"lornatang": _map(lambda model: table, "lornatang")}

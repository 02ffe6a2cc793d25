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

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights import WeightMap
from ppcore.weights.files import Arrays
from ppcore.weights.layouts import CONV, TRANSPOSED, VECTOR, Kind, Table, load, map_of, store

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


def _one_of_several(table: Table, layout: str, first: str) -> WeightMap:
    """The map of a table, that says what `key` may be where a file holds several networks."""

    def to_paddle(arrays: Arrays, model: nn.Layer) -> Arrays:
        keys = [name.removesuffix(f"/{first}") for name in arrays if name.endswith(f"/{first}")]
        if first not in arrays and keys:
            raise WeightsError(
                f"it holds several networks: say which to take with --key (or `key:`): {', '.join(keys)}"
            )
        return load(table, arrays, model)

    return WeightMap(to_paddle, lambda state, model: store(table, state, model, layout), framework="np", heads=())


def srcnn_maps() -> dict[str, WeightMap]:
    """The layouts of `ppsr.SRCNN`."""
    table: Table = [
        (rf"conv{place}\.weight", f"weights_conv{place}", kind)
        for place, kind in ((1, _FIRST), (2, _INNER), (3, _LAST))
    ]
    table += [(r"conv(\d)\.bias", "biases_conv{0}", COLUMN)]
    same = [row for place in (1, 2, 3) for row in _layer(f"conv{place}", f"conv{place}")]
    return {
        "srcnn": _one_of_several(table, "srcnn", "weights_conv1"),
        "yjn870": map_of(same, "yjn870", framework="pt", heads=()),
    }


def fsrcnn_maps(convs: int) -> dict[str, WeightMap]:
    """The layouts of `ppsr.FSRCNN` with so many convolutions before the transposed one."""
    last = convs + 1
    table: Table = [
        (r"convs\.(\d+)\.weight", "weights_conv/{next[0]}", _INNER),
        (r"convs\.(\d+)\.bias", "biases_conv/{next[0]}", COLUMN),
        (r"slopes\.(\d+)\._weight", "prelu_conv/{next[0]}", COLUMN),
        (r"deconv\.weight", f"weights_conv/{last}", _INNER),
        (r"deconv\.bias", f"biases_conv/{last}", COLUMN),
    ]
    torch: Table = _layer("deconv", "last_part")
    # There a convolution and its PReLU count as two layers: the first two are one part, all others another.
    for place in range(convs):
        part, number = ("first_part", 0) if place == 0 else ("mid_part", 2 * (place - 1))
        torch += _layer(f"convs.{place}", f"{part}.{number}") + _slope(f"slopes.{place}", f"{part}.{number + 1}")
    return {
        "fsrcnn": _one_of_several(table, "fsrcnn", "weights_conv/1"),
        "yjn870": map_of(torch, "yjn870", framework="pt", heads=()),
    }


def vdsr_maps(depth: int) -> dict[str, WeightMap]:
    """The layouts of a `ppsr.VDSR` of this depth."""
    table: Table = [
        (r"convs\.(\d+)\.weight", "weight/{next[0]}", _MATCONVNET),
        (r"convs\.(\d+)\.bias", "bias/{next[0]}", COLUMN),
    ]
    torch = _layer("convs.0", "input", bias=False) + _layer(f"convs.{depth - 1}", "output", bias=False)
    for place in range(1, depth - 1):
        torch += _layer(f"convs.{place}", f"residual_layer.{place - 1}.conv", bias=False)
    return {
        "vdsr": map_of(table, "vdsr", framework="np", heads=()),
        "pytorch_vdsr": map_of(torch, "pytorch_vdsr", framework="pt", heads=()),
    }


def srresnet_maps(form: str, blocks: int, doublings: int) -> dict[str, WeightMap]:
    """The layouts of a `ppsr.SRResNet`."""
    if form == "leftthomas":
        return {"leftthomas": _torch(_leftthomas(blocks, doublings), "leftthomas")}
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
    return {"lornatang": _torch(table + _layer("exit", "conv3"), "lornatang")}


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
    return {"lornatang": _torch(table, "lornatang")}


def _torch(table: Table, layout: str) -> WeightMap:
    """The map of a table of PyTorch's names; how many batches a norm has seen is left out."""

    def to_paddle(arrays: Arrays, model: nn.Layer) -> Arrays:
        return load(table, {n: a for n, a in arrays.items() if not n.endswith(".num_batches_tracked")}, model)

    return WeightMap(to_paddle, lambda state, model: store(table, state, model, layout), framework="pt", heads=())

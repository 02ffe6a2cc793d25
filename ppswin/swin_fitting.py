"""Swin Transformers of other sizes: bias tables and absolute positions resampled, ImageNet-22k's classifier cut to ImageNet-1k's.

The official fine-tuning (`load_pretrained`) does all of this unasked; here the classifier's rule is named.
"""

import math

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.layers import interpolate_pos_embed
from ppcore.layers.relative_bias import BIAS_MATRICES, resize_bias_table
from ppcore.weights import Fitting
from ppcore.weights.files import Arrays
from ppcore.weights.fitting import say
from ppswin.imagenet_22k import CLASSES_22K, MAP_22K_TO_1K

TABLE = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table"


def _resample(state: Arrays, model: nn.Layer, mode: str, notes: list[str]) -> Arrays:
    """Tables of other square windows in the way of `mode`, absolute positions of another square grid bicubically."""
    own, changed = model.state_dict(), {}
    for name, window in _windows(model):
        table = state.get(name)
        if table is None or table.ndim != 2 or table.shape == tuple(own[name].shape):
            continue
        side = math.isqrt(len(table))
        if side * side == len(table) and side % 2 and table.shape[1] == own[name].shape[1]:
            old = ((side + 1) // 2,) * 2
            state = state | {name: resize_bias_table(table, old, window, mode)}
            sizes = "{}x{} windows resampled to {}x{}".format(*old, *window)
            changed[sizes] = changed.get(sizes, 0) + 1
    for sizes, count in changed.items():
        say(f"position bias: {count} tables of {sizes} ({mode})", notes)
    positions, grid = state.get("absolute_pos_embed"), model.grid
    if positions is None or "absolute_pos_embed" not in own or positions.ndim != 3:
        return state
    side = math.isqrt(positions.shape[1])
    if positions.shape[1] == math.prod(grid) or side * side != positions.shape[1]:
        return state
    say("position embedding: {0}x{0} grid resampled to {1}x{2} (deit_bicubic)".format(side, *grid), notes)
    fitted = interpolate_pos_embed(positions, (side, side), grid, num_prefix_tokens=0, mode="deit_bicubic")
    return state | {"absolute_pos_embed": fitted}


def _windows(model: nn.Layer):
    """(name of the table, (down, across) of its window) of every block that has one."""
    for s, stage in enumerate(model.layers):
        for b, block in enumerate(stage.blocks):
            if block.attn.relative_position_bias_table is not None:
                yield f"layers.{s}.blocks.{b}.attn.relative_position_bias_table", block.attn.window


def _fits(state: Arrays, model: nn.Layer) -> bool:
    """Whether the file's classifier has as many outputs as the model's; a file without one is left to the report."""
    weight = state.get("head.weight")
    return weight is None or weight.ndim != 2 or weight.shape[-1] == model.num_classes


def _cut_to_1k(state: Arrays, model: nn.Layer, notes: list[str]) -> Arrays:
    """The rows of ImageNet-1k's classes, of a classifier of ImageNet-22k's.

    Raises:
        WeightsError: the file has other classes than ImageNet-22k's, or the model other than ImageNet-1k's.
    """
    if _fits(state, model):
        return state
    had = state["head.weight"].shape[-1]
    if (had, model.num_classes) != (CLASSES_22K, len(MAP_22K_TO_1K)):
        raise WeightsError(
            f"new_head=map22kto1k takes {CLASSES_22K} outputs to {len(MAP_22K_TO_1K)}, "
            f"but the file has {had} and the model {model.num_classes}: new_head=True begins a new classifier"
        )
    say(f"head: the {len(MAP_22K_TO_1K)} classes of ImageNet-1k taken from {had} (map22kto1k)", notes)
    columns = np.asarray(MAP_22K_TO_1K)
    return state | {name: state[name][..., columns] for name in ("head.weight", "head.bias")}


def _zeros(state: Arrays, model: nn.Layer, notes: list[str]) -> Arrays:
    """A classifier of zeros, as the official fine-tuning has it for any other number of classes."""
    if _fits(state, model):
        return state
    had = state["head.weight"].shape[-1]
    say(f"head: {had} outputs in the file, {model.num_classes} set to zero: it is to be trained", notes)
    own = model.state_dict()
    return state | {name: np.zeros(own[name].shape, "float32") for name in ("head.weight", "head.bias") if name in own}


FITTING = Fitting(
    modes=tuple(BIAS_MATRICES),
    default="swin_bicubic",
    resampled=rf"{TABLE}|absolute_pos_embed",
    resample=_resample,
    heads={"map22kto1k": _cut_to_1k, "zeros": _zeros},
)

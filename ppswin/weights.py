"""Weight layouts of Swin Transformers: the official code's, timm's (0.9 and newer), PaddleClas's.

Files of the official code and of PaddleClas hold, beside the weights, what follows from the size of window and image. It
is left out; the index is compared with ours first, as another one would give each entry of the bias another meaning.
"""

import logging
import math
import re
from dataclasses import replace

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.layers import interpolate_pos_embed
from ppcore.layers.relative_bias import BiasMode, relative_position_index, resize_bias_table
from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, MATRIX, TOKENS, TRANSPOSED, VECTOR, Arrays, Kind, Table, load, map_of

log = logging.getLogger(__name__)

INDEX = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_index"
# No weights: these names are dropped, and no others.
BUFFERS = (INDEX, r"layers\.\d+\.blocks\.\d+\.attn_mask")
_TABLE = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table"
_BLOCK = r"layers\.\d+\.blocks\.\d+\."


def _table(linear: Kind, downsample: str, head: str) -> Table:
    """Layouts whose names are ours, but for the two given.

    Args:
        linear: how the weight of a linear layer is stored.
        downsample: template of patch merging's place, {0} the stage that it leaves.
        head: what the head is called.
    """
    return [
        (r"(patch_embed\.proj\.weight)", "{0}", CONV),
        (r"(patch_embed\.(?:proj\.bias|norm\.(?:weight|bias))|norm\.(?:weight|bias))", "{0}", VECTOR),
        (rf"({_BLOCK}norm[12]\.(?:weight|bias))", "{0}", VECTOR),
        (rf"({_TABLE})", "{0}", MATRIX),  # of two axes, but no linear layer's: never transposed
        (rf"({_BLOCK}(?:attn\.(?:qkv|proj)|mlp\.fc[12])\.weight)", "{0}", linear),
        (rf"({_BLOCK}(?:attn\.(?:qkv|proj)|mlp\.fc[12])\.bias)", "{0}", VECTOR),
        (r"layers\.(\d+)\.downsample\.norm\.(weight|bias)", downsample + "norm.{1}", VECTOR),
        (r"layers\.(\d+)\.downsample\.reduction\.weight", downsample + "reduction.weight", linear),
        (r"head\.weight", f"{head}.weight", linear),
        (r"head\.bias", f"{head}.bias", VECTOR),
    ]


_LEAVING, _ENTERING = "layers.{0}.downsample.", "layers.{next[0]}.downsample."
_POSITIONS = (r"(absolute_pos_embed)", "{0}", TOKENS)
SWIN = [*_table(TRANSPOSED, _LEAVING, "head"), _POSITIONS]
TIMM = _table(TRANSPOSED, _ENTERING, "head.fc")  # timm's has no absolute positions
PADDLECLAS = [*_table(MATRIX, _LEAVING, "head"), _POSITIONS]


def _map(table: Table, layout: str, mode: BiasMode, buffers: tuple[str, ...], **options) -> WeightMap:
    """The `WeightMap` of a table that resizes what depends on the size, in its code's way, and drops `buffers`."""

    def to_paddle(arrays: Arrays, model: nn.Layer) -> Arrays:
        kept = {name: a for name, a in arrays.items() if not any(re.fullmatch(b, name) for b in buffers)}
        for name in arrays.keys() - kept.keys():
            _check_index(name, arrays[name])
        return _fitted(load(table, kept, model), model, mode)

    return replace(map_of(table, layout, **options), to_paddle=to_paddle)


def _check_index(name: str, array: np.ndarray) -> None:
    """Raises WeightsError when an index of square windows is not ours."""
    side = math.isqrt(len(array)) if array.ndim else 0
    if re.fullmatch(INDEX, name) and not np.array_equal(array, relative_position_index((side, side))):
        raise WeightsError(f"{name}: its relative positions are numbered in another way than Swin's")


def _fitted(state: Arrays, model: nn.Layer, mode: BiasMode) -> Arrays:
    """Bias tables and absolute positions of other square sizes, resampled; other misfits are kept, for the report."""
    own, changed = model.state_dict(), []
    windows = {f"{name}.relative_position_bias_table": layer.window for name, layer in _attentions(model)}
    for name, window in windows.items():
        table = state.get(name)
        if table is None or table.ndim != 2 or table.shape == tuple(own[name].shape):
            continue
        side = math.isqrt(len(table))
        if side * side == len(table) and side % 2 and table.shape[1] == own[name].shape[1]:
            old = ((side + 1) // 2,) * 2
            state[name] = resize_bias_table(table, old, window, mode)
            changed.append(f"{old[0]}x{old[1]} to {window[0]}x{window[1]}")
    if changed:
        log.info("%d relative position bias tables resampled (%s): %s", len(changed), mode, ", ".join(set(changed)))
    positions, grid = state.get("absolute_pos_embed"), model.grid
    if positions is not None and "absolute_pos_embed" in own and positions.ndim == 3:
        side = math.isqrt(positions.shape[1])
        if positions.shape[1] != math.prod(grid) and side * side == positions.shape[1]:
            log.info("absolute position embedding: %dx%d grid resampled to %dx%d (bicubic)", side, side, *grid)
            state["absolute_pos_embed"] = interpolate_pos_embed(
                positions, (side, side), grid, num_prefix_tokens=0, mode="deit_bicubic"
            )
    return state


def _attentions(model: nn.Layer):
    for s, stage in enumerate(model.layers):
        for b, block in enumerate(stage.blocks):
            if block.attn.relative_position_bias_table is not None:
                yield f"layers.{s}.blocks.{b}.attn", block.attn


_MAPS = {
    "swin": _map(SWIN, "swin", "swin_bicubic", BUFFERS, framework="pt"),
    "timm": _map(TIMM, "timm", "timm_geometric", (), framework="pt"),
    "paddleclas": _map(PADDLECLAS, "paddleclas", "swin_bicubic", (INDEX,)),
}


def weight_maps() -> dict[str, WeightMap]:
    """Returns the layouts a Swin Transformer can be read from and written to, by name.

    `swin` is the official code's, whose bias tables of another window are resampled bicubically, as its fine-tuning does;
    `timm` that of timm 0.9 and newer, whose tables are resampled by its geometric rule; `paddleclas` PaddleClas's.
    """
    return dict(_MAPS)

"""Weight layouts of Swin Transformers: the official code's, timm's (0.9 and newer), PaddleClas's.

Files of the official code and of PaddleClas hold, beside the weights, what follows from the size of window and image. It
is left out; the index is compared with ours first, as another one would give each entry of the bias another meaning.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.layers.relative_bias import relative_position_index
from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, MATRIX, TOKENS, TRANSPOSED, VECTOR, Arrays, Kind, Table, load, map_of
from ppcore.weights.snippets import timm_network
from ppswin.imagenet_22k import CLASSES_22K
from ppswin.swin_fitting import TABLE

INDEX = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_index"
# No weights: these names are dropped, and no others.
BUFFERS = (INDEX, r"layers\.\d+\.blocks\.\d+\.attn_mask")
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
        (rf"({TABLE})", "{0}", MATRIX),  # of two axes, but no linear layer's: never transposed
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


def _map(table: Table, layout: str, buffers: tuple[str, ...], **options) -> WeightMap:
    """The `WeightMap` of a table that drops `buffers`."""

    def to_paddle(arrays: Arrays, model: nn.Layer) -> Arrays:
        kept = {name: a for name, a in arrays.items() if not any(re.fullmatch(b, name) for b in buffers)}
        for name in arrays.keys() - kept.keys():
            _check_index(name, arrays[name])
        return load(table, kept, model)

    return replace(map_of(table, layout, **options), to_paddle=to_paddle)


def _check_index(name: str, array: np.ndarray) -> None:
    """Raises WeightsError when an index of square windows is not ours."""
    side = math.isqrt(len(array)) if array.ndim else 0
    if re.fullmatch(INDEX, name) and not np.array_equal(array, relative_position_index((side, side))):
        raise WeightsError(f"{name}: its relative positions are numbered in another way than Swin's")


# Arguments that timm calls the same, and those that change nothing in evaluation.
_IN_TIMM = {
    "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias",
}  # fmt: skip
_IGNORED = {"name", "window_rule", "drop_rate", "attn_drop_rate", "drop_path_rate"}


def _timm_snippet(file: str, architecture: Mapping[str, Any], model: nn.Layer) -> str | None:
    """Python that loads the file in timm, for its card; None for a network that timm has not, or computes otherwise."""
    square = model.grid[0] == model.grid[1]
    arguments = {key: value for key, value in architecture.items() if key not in _IGNORED}
    if model.window_rule == "detection" or not (square or model.window_rule == "timm") or arguments.keys() - _IN_TIMM:
        return None
    builder = str(architecture["name"]).rpartition(".")[2]
    if builder.endswith("_22k"):
        builder, arguments = builder.removesuffix("_22k"), {"num_classes": CLASSES_22K, **arguments}
    return timm_network(file, builder, arguments, "timm.models.swin_transformer.SwinTransformer")


_MAPS = {
    "swin": _map(SWIN, "swin", BUFFERS, pos_embed="swin_bicubic", framework="pt"),
    "timm": _map(TIMM, "timm", (), pos_embed="timm_geometric", framework="pt", snippet=_timm_snippet),
    "paddleclas": _map(PADDLECLAS, "paddleclas", (INDEX,), pos_embed="swin_bicubic"),
}


def weight_maps() -> dict[str, WeightMap]:
    """Returns the layouts a Swin Transformer can be read from and written to, by name.

    `swin` is the official code's, whose bias tables of another window are resampled bicubically, as its fine-tuning does;
    `timm` that of timm 0.9 and newer, whose tables are resampled by its geometric rule; `paddleclas` PaddleClas's.
    """
    return dict(_MAPS)

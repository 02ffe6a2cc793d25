"""The layout of DINO's files: the published backbones, and the entries `student` and `teacher` of training checkpoints."""

import re

from paddle import nn

from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, TOKENS, TRANSPOSED, VECTOR, Arrays, Table, load, map_of, store

_LINEAR = r"blocks\.\d+\.(?:attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)"
_NORM = r"(?:blocks\.\d+\.norm[12]|norm)\.(?:weight|bias)"


def _backbone_table(prefix: str) -> Table:
    pattern = re.escape(prefix)
    return [
        (rf"({pattern}(?:cls_token|pos_embed))", "{0}", TOKENS),
        (rf"({pattern}patch_embed\.proj\.weight)", "{0}", CONV),
        (rf"({pattern}(?:patch_embed\.proj\.bias|{_NORM}|{_LINEAR}\.bias))", "{0}", VECTOR),
        (rf"({pattern}{_LINEAR}\.weight)", "{0}", TRANSPOSED),
    ]


# The weights of batch norms match the first row, too: a vector is its own transpose.
_HEAD: Table = [
    (r"(head\.(?:mlp(?:\.\d+)?\.weight|last_layer\.weight_[gv]))", "{0}", TRANSPOSED),
    (r"(head\.mlp(?:\.\d+)?\.bias)", "{0}", VECTOR),
    (r"(head\.mlp\.\d+)\._mean", "{0}.running_mean", VECTOR),
    (r"(head\.mlp\.\d+)\._variance", "{0}.running_var", VECTOR),
]
_NETWORK = _backbone_table("backbone.") + _HEAD


def _plain(arrays: Arrays) -> Arrays:
    """Without what `DistributedDataParallel` adds to names, and without counters of batches."""
    return {n.removeprefix("module."): a for n, a in arrays.items() if not n.endswith("num_batches_tracked")}


def _backbone(arrays: Arrays, model: nn.Layer) -> Arrays:
    """Arrays of a backbone alone, or of a student or teacher, whose head is left out."""
    found = {n.removeprefix("backbone."): a for n, a in _plain(arrays).items() if not n.startswith("head.")}
    return load(_backbone_table(""), found, model)


def backbone_maps() -> dict[str, WeightMap]:
    """Layouts of `DINOVisionTransformer`: `dino` reads published backbones, and students and teachers (`key: teacher`)."""
    table = _backbone_table("")
    return {
        "dino": WeightMap(_backbone, lambda state, model: store(table, state, model, "dino"), framework="pt"),
    }


def network_maps() -> dict[str, WeightMap]:
    """Layouts of `DINONetwork`: `dino` reads a student or teacher with its head."""
    network = map_of(_NETWORK, "dino", framework="pt")
    return {
        "dino": WeightMap(lambda arrays, model: network.to_paddle(_plain(arrays), model), network.from_paddle,
                          framework="pt"),
    }  # fmt: skip

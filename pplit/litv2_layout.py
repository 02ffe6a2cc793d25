"""The `litv2` layout: the authors' PyTorch files, {'model': …} or bare."""

from paddle import nn

from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, TRANSPOSED, VECTOR, Arrays, Table, load, store

_BLOCK = r"layers\.\d+\.blocks\.\d+\."
_MERGING = r"layers\.\d+\.downsample\."
_ATTENTION = rf"(?:{_BLOCK}attn\.)?(?:l_q|l_kv|l_proj|h_qkv|h_proj)"  # of a model, or of a HiLo layer that stands alone
_LINEAR = rf"{_ATTENTION}|{_BLOCK}mlp\.fc[12]|head"
TABLE: Table = [
    (rf"((?:{_LINEAR})\.weight)", "{0}", TRANSPOSED),
    (rf"((?:{_LINEAR})\.bias)", "{0}", VECTOR),
    (rf"((?:{_BLOCK}norm[12]|patch_embed\.norm|norm)\.(?:weight|bias))", "{0}", VECTOR),
    (rf"((?:patch_embed\.proj|{_MERGING}dconv(?:\.conv_offset)?)\.weight)", "{0}", CONV),
    (rf"((?:patch_embed\.proj|{_MERGING}dconv(?:\.conv_offset)?)\.bias)", "{0}", VECTOR),
    (rf"({_BLOCK}mlp\.dwconv)\.weight", "{0}.dwconv.weight", CONV),
    (rf"({_BLOCK}mlp\.dwconv)\.bias", "{0}.dwconv.bias", VECTOR),
    (rf"({_MERGING})norm\.(weight|bias)", "{0}norm_layer.{1}", VECTOR),
    (rf"({_MERGING})norm\._mean", "{0}norm_layer.running_mean", VECTOR),
    (rf"({_MERGING})norm\._variance", "{0}norm_layer.running_var", VECTOR),
]


def _load(arrays: Arrays, model: nn.Layer) -> Arrays:
    # torch counts the batches a BatchNorm has seen; nothing is computed from it.
    return load(TABLE, {n: a for n, a in arrays.items() if not n.endswith(".num_batches_tracked")}, model)


def _store(state: Arrays, model: nn.Layer) -> Arrays:
    return store(TABLE, state, model, "litv2")


_MAPS = {"litv2": WeightMap(_load, _store, framework="pt")}


def weight_maps() -> dict[str, WeightMap]:
    """The layouts `ppcore.weights` reaches through the model."""
    return dict(_MAPS)

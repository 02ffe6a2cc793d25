"""Weight layouts of Vision Transformers: timm, DeiT, Google (vit_jax, big_vision), PaddleClas, transformers, vit-pytorch.

The fused qkv weight has q, k, v along its out axis.
"""

import re
from dataclasses import replace

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, MATRIX, TOKENS, TRANSPOSED, VECTOR, Arrays, Kind, Table, load, map_of, store
from ppvit.timm_snippet import timm_snippet
from ppvit.transformers_layout import VIT

HWIO = Kind(4, lambda a: a.transpose(3, 2, 0, 1), lambda a, model: a.transpose(2, 3, 1, 0))
# flax writes the group norms of the hybrids as (1, 1, 1, C)
CHANNELS = Kind(4, lambda a: a.reshape(-1), lambda a, model: a.reshape(1, 1, 1, -1))
_QKV = ("query", "key", "value")
QKV_KERNEL = Kind(3, lambda a: a.reshape(len(a), -1), lambda a, model: a.reshape(len(a), _heads(model), -1), _QKV)
QKV_BIAS = Kind(2, lambda a: a.reshape(-1), lambda a, model: a.reshape(_heads(model), -1), _QKV)
OUT_KERNEL = Kind(3, lambda a: a.reshape(-1, a.shape[-1]), lambda a, model: a.reshape(_heads(model), -1, a.shape[-1]))


def _heads(model: nn.Layer) -> int:
    return model.blocks[0].attn.num_heads


_LINEAR = r"blocks\.\d+\.(?:attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)|head"
_NORM = r"(?:blocks\.\d+\.norm[12]|norm|fc_norm)\.(?:weight|bias)"
_BACKBONE = r"patch_embed\.backbone\.[\w.]*"


def plain_table(linear: Kind, extra: Table) -> Table:
    """Layouts whose names are ours."""
    return [
        (r"(cls_token|pos_embed)", "{0}", TOKENS),
        (r"(patch_embed\.proj\.weight)", "{0}", CONV),
        (rf"(patch_embed\.proj\.bias|{_NORM}|(?:{_LINEAR})\.bias)", "{0}", VECTOR),
        (rf"((?:{_LINEAR})\.weight)", "{0}", linear),
        *extra,
    ]


TIMM = plain_table(
    TRANSPOSED,
    [
        (r"(blocks\.\d+\.ls[12]\.gamma)", "{0}", VECTOR),
        (r"(pre_logits\.fc\.weight)", "{0}", TRANSPOSED),
        (r"(pre_logits\.fc\.bias)", "{0}", VECTOR),
        (rf"({_BACKBONE}conv\d?\.weight)", "{0}", CONV),
        (rf"({_BACKBONE}norm\d?\.(?:weight|bias))", "{0}", VECTOR),
    ],
)
# PaddleClas 2.6.0's VisionTransformer has timm's names in Paddle's layouts, and neither
# LayerScale nor hybrids nor a representation layer.
PADDLECLAS = plain_table(MATRIX, [])

_B = r"blocks\.(\d+)\."
_V = "transformer.layers.{0}."


def _vit_pytorch_table(patch: tuple[int, int]) -> Table:
    # Patches are flattened (p1 p2 c) and projected by a linear layer: the same numbers as a
    # strided convolution with its kernel's axes reordered.
    ph, pw = patch
    patches = Kind(
        2,
        lambda a: a.reshape(len(a), ph, pw, -1).transpose(0, 3, 1, 2),
        lambda a, model: a.transpose(0, 2, 3, 1).reshape(len(a), -1),
    )
    return [
        (r"cls_token", "cls_token", TOKENS),
        (r"pos_embed", "pos_embedding", TOKENS),
        (r"patch_embed\.proj\.weight", "to_patch_embedding.1.weight", patches),
        (r"patch_embed\.proj\.bias", "to_patch_embedding.1.bias", VECTOR),
        (_B + r"norm1\.(\w+)", _V + "0.norm.{1}", VECTOR),
        (_B + r"attn\.qkv\.weight", _V + "0.fn.to_qkv.weight", TRANSPOSED),
        (_B + r"attn\.proj\.weight", _V + "0.fn.to_out.0.weight", TRANSPOSED),
        (_B + r"attn\.proj\.bias", _V + "0.fn.to_out.0.bias", VECTOR),
        (_B + r"norm2\.(\w+)", _V + "1.norm.{1}", VECTOR),
        (_B + r"mlp\.fc1\.weight", _V + "1.fn.net.0.weight", TRANSPOSED),
        (_B + r"mlp\.fc1\.bias", _V + "1.fn.net.0.bias", VECTOR),
        (_B + r"mlp\.fc2\.weight", _V + "1.fn.net.3.weight", TRANSPOSED),
        (_B + r"mlp\.fc2\.bias", _V + "1.fn.net.3.bias", VECTOR),
        # Its head is a layer norm and a linear layer: our final norm and head.
        (r"norm\.(\w+)", "mlp_head.0.{0}", VECTOR),
        (r"head\.weight", "mlp_head.1.weight", TRANSPOSED),
        (r"head\.bias", "mlp_head.1.bias", VECTOR),
    ]


def _vit_pytorch_load(arrays: Arrays, model: nn.Layer) -> Arrays:
    patch = model.patch_embed.proj.weight.shape[2:]
    kernel = arrays.get("to_patch_embedding.1.weight")
    if kernel is not None and kernel.size % (len(kernel) * patch[0] * patch[1]):
        raise WeightsError(
            f"misshapen to_patch_embedding.1.weight {kernel.shape}: the model has {patch[0]}x{patch[1]} patches"
        )
    return load(_vit_pytorch_table(patch), arrays, model)


def _vit_pytorch_store(state: Arrays, model: nn.Layer) -> Arrays:
    table = _vit_pytorch_table(model.patch_embed.proj.weight.shape[2:])
    return store(table, state, model, "vit_pytorch")


def _google_table(pos_embed: str, norm1: int, attention: int, norm2: int, mlp: int) -> Table:
    """flax names: vit_jax and big_vision number the modules of a block differently."""
    block = "Transformer/encoderblock_{0}/"
    attend = f"{block}MultiHeadDotProductAttention_{attention}/"
    dense = f"{block}MlpBlock_{mlp}/Dense_"
    unit = r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\."
    rows: Table = [
        (r"cls_token", "cls", TOKENS),
        (r"pos_embed", pos_embed, TOKENS),
        (r"patch_embed\.proj\.weight", "embedding/kernel", HWIO),
        (r"patch_embed\.proj\.bias", "embedding/bias", VECTOR),
        (_B + r"attn\.qkv\.weight", attend + "{part}/kernel", QKV_KERNEL),
        (_B + r"attn\.qkv\.bias", attend + "{part}/bias", QKV_BIAS),
        (_B + r"attn\.proj\.weight", attend + "out/kernel", OUT_KERNEL),
        (_B + r"attn\.proj\.bias", attend + "out/bias", VECTOR),
        (_B + r"mlp\.fc1\.weight", dense + "0/kernel", MATRIX),
        (_B + r"mlp\.fc1\.bias", dense + "0/bias", VECTOR),
        (_B + r"mlp\.fc2\.weight", dense + "1/kernel", MATRIX),
        (_B + r"mlp\.fc2\.bias", dense + "1/bias", VECTOR),
        (r"pre_logits\.fc\.weight", "pre_logits/kernel", MATRIX),
        (r"pre_logits\.fc\.bias", "pre_logits/bias", VECTOR),
        (r"head\.weight", "head/kernel", MATRIX),
        (r"head\.bias", "head/bias", VECTOR),
        (r"patch_embed\.backbone\.(?:stem\.)?conv\.weight", "conv_root/kernel", HWIO),
        (unit + r"conv(\d)\.weight", "block{next[0]}/unit{next[1]}/conv{2}/kernel", HWIO),
        (unit + r"downsample\.conv\.weight", "block{next[0]}/unit{next[1]}/conv_proj/kernel", HWIO),
    ]
    for ours, theirs in (("weight", "scale"), ("bias", "bias")):
        rows += [
            (rf"{_B}norm1\.{ours}", f"{block}LayerNorm_{norm1}/{theirs}", VECTOR),
            (rf"{_B}norm2\.{ours}", f"{block}LayerNorm_{norm2}/{theirs}", VECTOR),
            # With average pooling the final norm stands behind the pooling; flax's name is the same.
            (rf"(?:fc_)?norm\.{ours}", f"Transformer/encoder_norm/{theirs}", VECTOR),
            (rf"patch_embed\.backbone\.(?:stem\.)?norm\.{ours}", f"gn_root/{theirs}", CHANNELS),
            (rf"{unit}norm(\d)\.{ours}", f"block{{next[0]}}/unit{{next[1]}}/gn{{2}}/{theirs}", CHANNELS),
            (rf"{unit}downsample\.norm\.{ours}", f"block{{next[0]}}/unit{{next[1]}}/gn_proj/{theirs}", CHANNELS),
        ]
    return rows


_OLD_POS = "Transformer/posembed_input/pos_embedding"
_VIT_JAX = _google_table(_OLD_POS, norm1=0, attention=1, norm2=2, mlp=3)
_BIG_VISION = _google_table("pos_embedding", norm1=0, attention=0, norm2=1, mlp=0)


def _big_vision_load(arrays: Arrays, model: nn.Layer) -> Arrays:
    arrays = _without_prefix(arrays)
    if any("MAPHead" in name for name in arrays):
        raise WeightsError("these weights pool with a MAP head (attention pooling), which our ViT has not")
    arrays = _unstacked(arrays)
    # The position embedding lived in three places over big_vision's life.
    for old in (_OLD_POS, "Transformer/pos_embedding"):
        if old in arrays:
            arrays["pos_embedding"] = arrays.pop(old)
    pos, own = arrays.get("pos_embedding"), model.state_dict().get("pos_embed")
    if pos is not None and own is not None and pos.ndim == 3:
        prefix = own.shape[1] - model.grid[0] * model.grid[1]
        side = round(pos.shape[1] ** 0.5)
        # Newer files add positions before the class token, which is a zero row for that token;
        # older ones have a row for it, and a square plus one is no square.
        if prefix == 1 and (side * side == pos.shape[1]):
            row = np.zeros_like(pos[:, :1])
            arrays["pos_embedding"] = np.concatenate([row, pos], axis=1)
    return load(_BIG_VISION, arrays, model)


def _big_vision_store(state: Arrays, model: nn.Layer) -> Arrays:
    arrays = store(_BIG_VISION, state, model, "big_vision")
    pos = arrays.get("pos_embedding")
    # A class row that is zero is left out, as big_vision does now; one that is not stays, in the
    # older form, which big_vision's loader folds into `cls`: nothing is rounded either way.
    if pos is not None and pos.shape[1] > model.grid[0] * model.grid[1] and not pos[:, 0].any():
        arrays["pos_embedding"] = np.ascontiguousarray(pos[:, 1:])
    return {f"params/{name}": array for name, array in arrays.items()}


def _without_prefix(arrays: Arrays) -> Arrays:
    for prefix in ("params/img/", "opt/target/", "params/"):
        if f"{prefix}embedding/kernel" in arrays:
            # The rest of such a file (optimiser state, text tower) is not this model's.
            return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return dict(arrays)


def _unstacked(arrays: Arrays) -> Arrays:
    """Blocks trained under `scan` are stored stacked: one array, depth first."""
    stacked, result = "Transformer/encoderblock/", {}
    for name, array in arrays.items():
        if name.startswith(stacked):
            rest = name.removeprefix(stacked)
            result |= {f"Transformer/encoderblock_{i}/{rest}": layer for i, layer in enumerate(array)}
        else:
            result[name] = array
    return result


def _encoder_of(dropped: str, own: bool = False) -> WeightMap:
    """The encoder out of the file of a pre-training: timm's names, beside what is listed here and has no use in a classifier.

    Anything else that does not fit is an error. A classifier with `fc_norm` leaves the pre-trained `norm` out and begins that one
    and its head afresh (`new_head`); what was fine-tuned has both.

    Args:
        dropped: pattern of the names that the pre-training alone has.
        own: whether arrays are in Paddle's layouts, in a checkpoint of the suite, not in torch's.
    """

    def encoder(arrays: Arrays, model: nn.Layer) -> Arrays:
        names = dropped if "norm.weight" in model.state_dict() else rf"{dropped}|norm\.(?:weight|bias)"
        kept = {name: a for name, a in arrays.items() if not re.fullmatch(names, name)}
        return kept if own else load(TIMM, kept, model)

    return WeightMap(
        encoder,
        lambda state, model: dict(state) if own else store(TIMM, state, model, "timm"),
        pos_embed="deit_bicubic",
        framework="pd" if own else "pt",
        heads=("head", "fc_norm"),
    )


_MAE = r"mask_token|decoder_(?:pos_embed|(?:embed|pred|norm)\.\w+|blocks\.[\w.]+)"
_CAN = r"(?:projection_head|noise_pe_mlp)\.[02]\.\w+"
_JIGSAW = r"jigsaw\.[024]\.\w+"
_timm = map_of(TIMM, "timm", framework="pt", snippet=timm_snippet("timm.models.VisionTransformer"))
_MAPS = {
    "timm": _timm,
    "deit": replace(_timm, pos_embed="deit_bicubic"),
    "google": map_of(_VIT_JAX, "google", pos_embed="google_zoom_order1", framework="np", tanh_gelu=True),
    "big_vision": WeightMap(
        _big_vision_load,
        _big_vision_store,
        pos_embed="google_zoom_order1",
        framework="np",
        tanh_gelu=True,
    ),
    "paddleclas": map_of(PADDLECLAS, "paddleclas"),
    "transformers": VIT,
    "vit_pytorch": WeightMap(_vit_pytorch_load, _vit_pytorch_store, framework="pt"),
    "mae": _encoder_of(_MAE),
    "can": _encoder_of(rf"{_MAE}|{_CAN}"),
    "jigsaw": _encoder_of(_JIGSAW),
    "pretraining": _encoder_of(rf"{_MAE}|{_CAN}|{_JIGSAW}", own=True),
}


def weight_maps() -> dict[str, WeightMap]:
    """Returns the layouts a ViT can be read from and written to, by name.

    `timm` also reads PyTorch files of the DeiT repository; `deit` is the same layout with DeiT's
    resampling of position embeddings. `google` is vit_jax's .npz (hybrids too), `big_vision` its
    successor's, `paddleclas` PaddleClas 2.6.0's, `transformers` Hugging Face's, `vit_pytorch` the layout of the lucidrains
    package before its layer norms moved inside (norm outside attention and MLP, qkv without bias). `mae`, `can` and `jigsaw` take
    the encoder out of a pre-training's official file (Jigsaw-ViT's has a classifier, too), `pretraining` out of a checkpoint of the
    suite's own by one of them.
    """
    return dict(_MAPS)

"""The layout `transformers`: folders that Hugging Face's ViTForImageClassification loads, in and out.

The names are those of their files, which all of its releases read; releases from 5 on call the same tensors otherwise in memory,
and such names are read, too. A distilled DeiT is the same with a second token and head (`ppdeit.weights`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from paddle import nn

from ppcore.errors import WeightsError
from ppcore.layers import PatchEmbed
from ppcore.weights import Description, WeightMap
from ppcore.weights.layouts import CONV, TOKENS, TRANSPOSED, VECTOR, Arrays, Kind, Table, load, store

_QKV = ("query", "key", "value")
_QKV_KERNEL = Kind(2, TRANSPOSED.load, TRANSPOSED.store, _QKV)
_QKV_BIAS = Kind(1, VECTOR.load, VECTOR.store, _QKV)
# Our activation -> theirs, and others of theirs that compute the same.
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu"}
_ALSO = {"gelu_new": "gelu_tanh"}
# Names in memory since transformers 5 -> names in files.
_RENAMED = (
    (r"\.layers\.(\d+)\.", r".encoder.layer.\1."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def table(trunk: str, head: str = "classifier", extra: Table = ()) -> Table:
    """The names of a model of theirs.

    Args:
        trunk: what the names of all but the heads begin with.
        head: name of the class token's head.
        extra: further entries.
    """
    block, at = r"blocks\.(\d+)\.", f"{trunk}.encoder.layer.{{0}}."
    rows: Table = [
        (r"cls_token", f"{trunk}.embeddings.cls_token", TOKENS),
        (r"pos_embed", f"{trunk}.embeddings.position_embeddings", TOKENS),
        (r"patch_embed\.proj\.weight", f"{trunk}.embeddings.patch_embeddings.projection.weight", CONV),
        (r"patch_embed\.proj\.bias", f"{trunk}.embeddings.patch_embeddings.projection.bias", VECTOR),
        (block + r"attn\.qkv\.weight", at + "attention.attention.{part}.weight", _QKV_KERNEL),
        (block + r"attn\.qkv\.bias", at + "attention.attention.{part}.bias", _QKV_BIAS),
        (block + r"norm1\.(\w+)", at + "layernorm_before.{1}", VECTOR),
        (block + r"norm2\.(\w+)", at + "layernorm_after.{1}", VECTOR),
        (r"norm\.(\w+)", f"{trunk}.layernorm.{{0}}", VECTOR),
    ]
    linear = [
        (block + r"attn\.proj\.", at + "attention.output.dense."),
        (block + r"mlp\.fc1\.", at + "intermediate.dense."),
        (block + r"mlp\.fc2\.", at + "output.dense."),
        (r"head\.", f"{head}."),
    ]
    for pattern, template in linear:
        rows += [(pattern + "weight", template + "weight", TRANSPOSED), (pattern + "bias", template + "bias", VECTOR)]
    return [*rows, *extra]


def folder_map(architecture: str, model_type: str, rows: Table, *, prefix_tokens: int = 1) -> WeightMap:
    """The layout of one of their classes.

    Args:
        architecture: the class.
        model_type: of its configuration, which is also what the names of all but the heads begin with.
        rows: names.
        prefix_tokens: tokens before the patches'.
    """

    def read(arrays: Arrays, model: nn.Layer) -> Arrays:
        return load(rows, named_as_in_files(arrays, model_type), model)

    def write(state: Arrays, model: nn.Layer) -> Arrays:
        check_expressible(model)
        return store(rows, state, model, "transformers")

    def config(model: nn.Layer) -> dict[str, Any]:
        check_expressible(model)
        return {"architectures": [architecture], "model_type": model_type, **sizes(model)}

    def arguments(found: Mapping[str, Any]) -> dict[str, Any] | None:
        classes = found.get("architectures") or [architecture]
        if not isinstance(classes, list):
            raise WeightsError(f"architectures is {classes!r:.40}, not a list")
        known = any(name == architecture or str(name).endswith("Model") for name in classes)  # or a trunk
        return {**arguments_of(found), "pool": "token"} if known and found.get("model_type") == model_type else None

    def check(made: Mapping[str, Any], arrays: Arrays) -> None:
        check_arrays(made, named_as_in_files(arrays, model_type), model_type, prefix_tokens)

    def own(model: nn.Layer) -> dict[str, Any]:
        return arguments_of(sizes(model) | {"num_labels": max(model.num_classes, 1)}) | {"pool": model.pool}

    return WeightMap(
        read, write, framework="pt", pos_embed="deit_bicubic", description=Description(config, arguments, check, own)
    )


def named_as_in_files(arrays: Arrays, trunk: str) -> Arrays:
    """`arrays` under the names of files of a classifier; the pooler, which classifiers have not, is left out."""
    if "embeddings.cls_token" in arrays:  # of a model without a head
        heads = ("classifier", "cls_classifier", "distillation_classifier")
        arrays = {n if n.startswith(heads) else f"{trunk}.{n}": a for n, a in arrays.items()}
    found = {}
    for name, array in arrays.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if not name.startswith(f"{trunk}.pooler."):
            found[name] = array
    return found


def check_expressible(model: nn.Layer) -> None:
    """Checks that their class computes what the model computes.

    Raises:
        WeightsError: it has no place for something, in one line.
    """
    block = model.blocks[0]
    heads = block.attn
    wrong = {
        "a hybrid's convolutions": not isinstance(model.patch_embed, PatchEmbed),
        "pool=gap (the mean of the patch tokens)": model.pool != "token",
        "a representation layer (representation_size)": not isinstance(model.pre_logits, nn.Identity),
        "LayerScale (layer_scale_init)": not isinstance(block.ls1, nn.Identity),
        f"head_dim {heads.head_dim} x {heads.num_heads} heads": heads.inner_dim != model.embed_dim,
        "a network without a head (num_classes 0)": not model.num_classes,
    }
    found = [what for what, is_so in wrong.items() if is_so]
    if found:
        raise WeightsError(f"the transformers layout has no place for {', '.join(found)}: write another layout")


def sizes(model: nn.Layer) -> dict[str, Any]:
    """The sizes of a model under their names."""
    block, projection = model.blocks[0], model.patch_embed.proj.weight
    return {
        "hidden_size": model.embed_dim,
        "num_hidden_layers": len(model.blocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.fc1.weight.shape[1],
        "hidden_act": _ACTIVATIONS[model.act],
        "layer_norm_eps": model.norm._epsilon,
        "image_size": _one_or_two(model.patch_embed.img_size),
        "patch_size": _one_or_two(projection.shape[2:]),
        "num_channels": projection.shape[1],
        "qkv_bias": block.attn.qkv.bias is not None,
        "hidden_dropout_prob": model.pos_drop.p,
        "attention_probs_dropout_prob": block.attn.attn_drop,
    }


def arguments_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of our class for a configuration of theirs; what that leaves out has their defaults.

    Raises:
        WeightsError: it is damaged, or says what we have not.
    """
    act = found.get("hidden_act", "gelu")
    if not isinstance(act, str):
        raise WeightsError(f"hidden_act is {act!r}, not text")
    ours = {theirs: name for name, theirs in _ACTIVATIONS.items()} | _ALSO
    if act not in ours:
        raise WeightsError(f"hidden_act {act[:40]!r} is none of ours: {', '.join(ours)}")
    return {
        "img_size": _size(found, "image_size", 224),
        "patch_size": _size(found, "patch_size", 16),
        "in_chans": _whole(found, "num_channels", 3),
        "num_classes": _classes(found),
        "embed_dim": _whole(found, "hidden_size", 768),
        "depth": _whole(found, "num_hidden_layers", 12),
        "num_heads": _whole(found, "num_attention_heads", 12),
        "mlp_dim": _whole(found, "intermediate_size", 3072),
        "qkv_bias": _flag(found, "qkv_bias", True),
        "act": ours[act],
        "norm_eps": _epsilon(found, "layer_norm_eps", 1e-12),
    }


def check_arrays(made: Mapping[str, Any], arrays: Arrays, trunk: str, prefix_tokens: int) -> None:
    """Checks that arguments describe the network of these arrays: whoever builds it gets no more than the file holds.

    Raises:
        WeightsError: they describe another.
    """
    sides = [(one if isinstance(one, list) else [one] * 2) for one in (made["img_size"], made["patch_size"])]
    tokens = prefix_tokens + math.prod(image // patch for image, patch in zip(*sides, strict=True))
    first = f"{trunk}.encoder.layer.0."
    layers = {name.split(".")[3] for name in arrays if name.startswith(f"{trunk}.encoder.layer.")}
    expected = {
        f"{trunk}.embeddings.position_embeddings": (1, tokens, made["embed_dim"]),
        f"{trunk}.embeddings.patch_embeddings.projection.weight": (made["embed_dim"], made["in_chans"], *sides[1]),
        f"{first}intermediate.dense.weight": (made["mlp_dim"], made["embed_dim"]),
    }
    for name, shape in expected.items():
        if name not in arrays or arrays[name].shape != shape:
            has = f"{name} {arrays[name].shape}" if name in arrays else f"no {name}"
            raise WeightsError(f"describes another network: its sizes make {name} {shape}, the weights have {has}")
    if len(layers) != made["depth"]:
        raise WeightsError(f"describes another network: num_hidden_layers {made['depth']}, the weights {len(layers)}")
    heads = [array for name, array in arrays.items() if name in ("classifier.weight", "cls_classifier.weight")]
    # A head that the file has not is built afresh, and not much larger than what is there.
    most = len(heads[0]) if heads else sum(array.size for array in arrays.values()) // made["embed_dim"]
    if made["num_classes"] > most or (heads and made["num_classes"] != most):
        raise WeightsError(
            f"describes another network: {made['num_classes']} classes, the weights {most if heads else 'none'}"
        )


def _one_or_two(size: Any) -> int | list[int]:
    height, width = (int(side) for side in size)
    return height if height == width else [height, width]


def _whole(found: Mapping[str, Any], key: str, default: int) -> int:
    value = found.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise WeightsError(f"{key} is {value!r:.40}, not a positive whole number")
    return value


def _size(found: Mapping[str, Any], key: str, default: int) -> int | list[int]:
    value = found.get(key, default)
    if isinstance(value, list) and len(value) == 2:
        return _one_or_two([_whole({key: side}, key, 1) for side in value])
    return _whole(found, key, default)


def _flag(found: Mapping[str, Any], key: str, default: bool) -> bool:
    value = found.get(key, default)
    if not isinstance(value, bool):
        raise WeightsError(f"{key} is {value!r:.40}, not true or false")
    return value


def _epsilon(found: Mapping[str, Any], key: str, default: float) -> float:
    value = found.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise WeightsError(f"{key} is {value!r:.40}, not a number between 0 and 1")
    return float(value)


def _classes(found: Mapping[str, Any]) -> int:
    names = found.get("id2label")
    if names is None:
        return _whole(found, "num_labels", 2)
    if not isinstance(names, Mapping) or not names:
        raise WeightsError(f"id2label is {names!r:.40}, not names by number")
    return len(names)


VIT = folder_map("ViTForImageClassification", "vit", table("vit"))

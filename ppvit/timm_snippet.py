"""Python that loads a weight file of the layout `timm` in timm, for its card."""

from collections.abc import Mapping, Sequence
from typing import Any

from paddle import nn

from ppcore.weights.snippets import timm_network

_OURS = {
    "img_size",
    "patch_size",
    "in_chans",
    "num_classes",
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "qkv_bias",
    "act",
}
# Arguments that change nothing in evaluation.
_IGNORED = {"name", "drop_rate", "attn_drop_rate", "drop_path_rate", "drop_path_mode", "init", "head_bias_init"}


def timm_snippet(home: str | None, absent: Sequence[str] = ()) -> Any:
    """The `snippet` of a layout whose classes are timm's.

    Args:
        home: timm's class for a network that is none of its named models; None where its arguments are others.
        absent: builders of ours that timm has no model of that name for.
    """

    def snippet(file: str, architecture: Mapping[str, Any], model: nn.Layer) -> str | None:
        builder = str(architecture["name"]).rpartition(".")[2]
        arguments = {key: value for key, value in architecture.items() if key not in _IGNORED}
        named = builder[:1].islower()
        if not arguments.keys() <= _OURS or builder in absent or not (named or home):
            return None  # of ours alone, or called otherwise there
        if (act := arguments.pop("act", "gelu")) != "gelu":
            arguments["act_layer"] = act
        return timm_network(file, builder, arguments, home)

    return snippet

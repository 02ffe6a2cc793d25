"""Weight layouts of DeiT and DeiT III: ViT's tables with what the papers add."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights import WeightMap
from ppcore.weights.layouts import MATRIX, TOKENS, TRANSPOSED, VECTOR, Kind, Table, map_of
from ppvit.timm_snippet import timm_snippet
from ppvit.transformers_layout import folder_map, table
from ppvit.weights import PADDLECLAS, TIMM


def _distilled(table: Table, linear: Kind) -> Table:
    return [
        *table,
        (r"(dist_token)", "{0}", TOKENS),
        (r"(head_dist\.weight)", "{0}", linear),
        (r"(head_dist\.bias)", "{0}", VECTOR),
    ]


# Their class with both heads, whose answer is the mean of the two.
_TEACHER: Table = [
    (r"dist_token", "deit.embeddings.distillation_token", TOKENS),
    (r"head_dist\.weight", "distillation_classifier.weight", TRANSPOSED),
    (r"head_dist\.bias", "distillation_classifier.bias", VECTOR),
]


def _transformers() -> WeightMap:
    rows = table("deit", "cls_classifier", _TEACHER)
    made = folder_map("DeiTForImageClassificationWithTeacher", "deit", rows, prefix_tokens=2)

    def both_heads(model: nn.Layer) -> dict[str, Any]:
        if model.eval_head != "mean":
            raise WeightsError(
                f"eval_head={model.eval_head}: the transformers layout answers with the mean of both heads: "
                "write another layout, or set eval_head=mean"
            )
        return made.description.config(model)

    theirs, own = made.description.arguments, made.description.own

    def arguments(found: Mapping[str, Any]) -> dict[str, Any] | None:
        said = theirs(found)
        return said and {**said, "eval_head": "mean"}

    return replace(
        made,
        description=replace(
            made.description,
            config=both_heads,
            arguments=arguments,
            own=lambda model: {**own(model), "eval_head": model.eval_head},
        ),
    )


_timm = map_of(
    _distilled(TIMM, TRANSPOSED),
    "timm",
    framework="pt",
    snippet=timm_snippet("timm.models.deit.VisionTransformerDistilled"),
)
_DISTILLED = {
    "timm": _timm,
    # The official files ({'model': …}) have the same names; their fine-tuning resamples without antialiasing.
    "deit": replace(_timm, pos_embed="deit_bicubic"),
    "paddleclas": map_of(_distilled(PADDLECLAS, MATRIX), "paddleclas"),
    "transformers": _transformers(),
}

# The official DeiT III code calls LayerScale gamma_1 and gamma_2.
_GAMMAS: Table = [(r"(blocks\.\d+)\.ls([12])\.gamma", "{0}.gamma_{1}", VECTOR)]
_DEIT3 = {
    "timm": map_of(TIMM, "timm", framework="pt", snippet=timm_snippet(None, absent=["deit3_medium_patch16_384"])),
    "deit": map_of([*_GAMMAS, *TIMM], "deit", framework="pt", pos_embed="deit_bicubic"),
}


def distilled_maps() -> dict[str, WeightMap]:
    """Returns the layouts of a distilled DeiT by name: `timm`, `deit`, `paddleclas` (2.6.0), `transformers`."""
    return dict(_DISTILLED)


def deit3_maps() -> dict[str, WeightMap]:
    """Returns the layouts of DeiT III by name: `timm` (ls1.gamma) and `deit`, the official one (gamma_1)."""
    return dict(_DEIT3)

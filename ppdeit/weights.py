"""Weight layouts of DeiT and DeiT III: ViT's tables with what the papers add."""

from dataclasses import replace

from ppcore.weights import WeightMap
from ppcore.weights.layouts import MATRIX, TOKENS, TRANSPOSED, VECTOR, Kind, Table, map_of
from ppvit.weights import PADDLECLAS, TIMM


def _distilled(table: Table, linear: Kind) -> Table:
    return [
        *table,
        (r"(dist_token)", "{0}", TOKENS),
        (r"(head_dist\.weight)", "{0}", linear),
        (r"(head_dist\.bias)", "{0}", VECTOR),
    ]


_timm = map_of(_distilled(TIMM, TRANSPOSED), "timm", framework="pt")
_DISTILLED = {
    "timm": _timm,
    # The official files ({'model': …}) have the same names; their fine-tuning resamples without antialiasing.
    "deit": replace(_timm, pos_embed="deit_bicubic"),
    "paddleclas": map_of(_distilled(PADDLECLAS, MATRIX), "paddleclas"),
}

# The official DeiT III code calls LayerScale gamma_1 and gamma_2.
_GAMMAS: Table = [(r"(blocks\.\d+)\.ls([12])\.gamma", "{0}.gamma_{1}", VECTOR)]
_DEIT3 = {
    "timm": map_of(TIMM, "timm", framework="pt"),
    "deit": map_of([*_GAMMAS, *TIMM], "deit", framework="pt", pos_embed="deit_bicubic"),
}


def distilled_maps() -> dict[str, WeightMap]:
    """Returns the layouts of a distilled DeiT by name: `timm`, `deit` and `paddleclas` (2.6.0)."""
    return dict(_DISTILLED)


def deit3_maps() -> dict[str, WeightMap]:
    """Returns the layouts of DeiT III by name: `timm` (ls1.gamma) and `deit`, the official one (gamma_1)."""
    return dict(_DEIT3)

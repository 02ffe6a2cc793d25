"""The released code's weight layout of CAN: MAE's, a projection and what tells the noise level."""

from ppcore.weights import WeightMap
from ppcore.weights.layouts import TRANSPOSED, VECTOR, map_of
from ppssl.mae_layout import MAE

_HEADS = r"(?:projection_head|noise_pe_mlp)\.[02]"


def can_maps() -> dict[str, WeightMap]:
    """Returns the layouts of a contrastive masked autoencoder by name: `can`."""
    table = [*MAE, (rf"({_HEADS}\.weight)", "{0}", TRANSPOSED), (rf"({_HEADS}\.bias)", "{0}", VECTOR)]
    return {"can": map_of(table, "can", framework="pt", pos_embed="deit_bicubic")}

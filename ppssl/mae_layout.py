"""Official weight layouts of MAE and of what is built on it: encoder and decoder, in PyTorch's layouts."""

from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, TOKENS, TRANSPOSED, VECTOR, Table, map_of

_LINEAR = r"(?:decoder_)?blocks\.\d+\.(?:attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)|decoder_embed|decoder_pred"
_NORM = r"(?:decoder_)?blocks\.\d+\.norm[12]|norm|decoder_norm"

MAE: Table = [
    (r"(cls_token|mask_token|pos_embed|decoder_pos_embed)", "{0}", TOKENS),
    (r"(patch_embed\.proj\.weight)", "{0}", CONV),
    (rf"(patch_embed\.proj\.bias|(?:{_NORM})\.(?:weight|bias)|(?:{_LINEAR})\.bias)", "{0}", VECTOR),
    (rf"((?:{_LINEAR})\.weight)", "{0}", TRANSPOSED),
]


def mae_maps() -> dict[str, WeightMap]:
    """Returns the layouts of a masked autoencoder by name: `mae`, the official full checkpoints' (`{'model': …}`).

    Files of the encoder alone are for what is fine-tuned: `ppvit.VisionTransformer` reads both.
    """
    return {"mae": map_of(MAE, "mae", framework="pt", pos_embed="deit_bicubic")}

"""The common layer library: one idea a file, no paper by name."""

from ppcore.layers.attention import Attention
from ppcore.layers.block import Block
from ppcore.layers.conv import Conv2D, Conv2DTranspose, conv2d, conv2d_transpose
from ppcore.layers.drop_path import DropPath, drop_path_rates
from ppcore.layers.half_instance_norm import HalfInstanceNorm
from ppcore.layers.layer_scale import LayerScale
from ppcore.layers.linear import Linear
from ppcore.layers.mlp import ACTIVATIONS, Activation, Mlp
from ppcore.layers.patch_embed import PatchEmbed, check_input, pair, patchify, pixel_unshuffle
from ppcore.layers.pos_embed import interpolate as interpolate_pos_embed
from ppcore.layers.reflect import reflect_to

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Attention",
    "Block",
    "Conv2D",
    "Conv2DTranspose",
    "DropPath",
    "HalfInstanceNorm",
    "LayerScale",
    "Linear",
    "Mlp",
    "PatchEmbed",
    "check_input",
    "conv2d",
    "conv2d_transpose",
    "drop_path_rates",
    "interpolate_pos_embed",
    "pair",
    "patchify",
    "pixel_unshuffle",
    "reflect_to",
]

"""How vit_jax and big_vision initialise a ViT; the paper prints no initialisation."""

import paddle.nn as nn
from paddle.nn.initializer import Constant

from ppcore.layers import init


def initialise(model: nn.Layer) -> None:
    """Re-draws every tensor of a VisionTransformer as Google's code does.

    Linear layers Xavier-uniform (q, k and v each on their own), MLP biases N(0, 1e-6), convolutions
    LeCun-normal, position embedding N(0, .02), class token and heads zero. Under `paddle.LazyGuard`
    nothing is drawn.
    """
    if not model.pos_embed._is_initialized():
        return
    linear = (".proj.weight", ".fc1.weight", ".fc2.weight", "pre_logits.fc.weight")
    for name, p in model.named_parameters():
        if name.endswith("qkv.weight"):
            init.reset(p, init.XavierUniform(parts=3))
        elif name.endswith(linear) and p.ndim == 2:
            init.reset(p, init.XavierUniform())
        elif name.endswith((".mlp.fc1.bias", ".mlp.fc2.bias")):
            init.reset(p, init.Gaussian(1e-6))
        elif name.startswith("patch_embed.") and p.ndim == 4:
            init.reset(p, init.LecunNormal())
        elif name == "patch_embed.proj.bias":
            init.reset(p, init.Zeros())
    init.reset(model.cls_token, init.Zeros())
    init.reset(model.pos_embed, init.Gaussian(0.02))
    initialise_heads(model)


def initialise_heads(model: nn.Layer) -> None:
    """Heads start at zero, their bias at `model.head_bias_init`."""
    for name, p in model.named_parameters():
        if name.startswith("head"):
            init.reset(p, Constant(model.head_bias_init if name.endswith("bias") else 0.0))

"""Gradient checkpointing: the blocks of a network keep their inputs alone, and compute the rest again on the way back."""

from types import MethodType

import paddle
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from ppcore.errors import ConfigError
from ppcore.model import traits


def recompute_blocks(networks: nn.Layer) -> int:
    """Makes every block that a network declares (`ppcore.model.Model.blocks`) forget what it computed.

    The forward pass runs again before a block's gradients, by Paddle's `fleet.utils.recompute`, with the same random
    numbers and the same autocast: the same gradients, for one more forward pass. Where nothing will be differentiated
    (evaluation, a teacher), blocks run as they are.

    Args:
        networks: a network, or what holds several.

    Returns:
        The number of blocks.

    Raises:
        ConfigError: none of them declares blocks.
    """
    found = [block for layer in networks.sublayers(include_self=True) for block in traits(layer).blocks]
    found = list({id(block): block for block in found}.values())
    if not found:
        raise ConfigError(f"Global.recompute: {type(networks).__name__} does not say which of its layers are blocks")
    for block in found:
        block.forward = MethodType(_forward, block)  # a method, as whoever traces the network expects
    return len(found)


def _forward(block: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    forward = MethodType(type(block).forward, block)
    # An input without a gradient (the first block after frozen layers) would take the block's own gradients with it.
    if not paddle.in_dynamic_mode() or not paddle.is_grad_enabled() or x.stop_gradient:
        return forward(x)
    return recompute(forward, x)

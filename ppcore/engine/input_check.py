"""Whether the transforms give what the network takes, said before the network fails on it."""

from typing import Any

import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.model import traits


def check_input(model: nn.Layer, images: Any, split: str) -> None:
    """Compares the size of a batch with the one that the network takes.

    Args:
        model: the network.
        images: an array or a tensor, [B, C, H, W].
        split: `Train`, `Eval` or `Beside.NAME`, whose transforms made them.

    Raises:
        ConfigError: they differ; names both sizes and the keys that decide them.
    """
    wanted, came = traits(model).img_size, tuple(images.shape[2:])
    if wanted is None or came == wanted or traits(model).other_sizes:
        return
    height, width = wanted
    size = str(height) if height == width else f"[{height}, {width}]"
    ending = (
        f"ppcore.data.Resize and ppcore.data.CenterCrop (size: {size})"
        if split == "Eval"
        else f"ppcore.data.RandomResizedCrop (size: {size}) or ppcore.data.RandomCrop"
    )
    raise ConfigError(
        f"DataLoader.{split}.transforms give images of {came[0]}x{came[1]} (height x width) and the network "
        f"({type(model).__name__}) takes {height}x{width}: put {ending} before Normalize, or set Arch.img_size"
    )

"""A network's output together with what some of its layers give on the way."""

from collections.abc import Mapping
from typing import Any

import paddle
import paddle.nn as nn


def watched(model: nn.Layer, layers: Mapping[str, nn.Layer], x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
    """The output of `model(x)`, and by their names the results of layers that take one argument."""
    results: dict[str, paddle.Tensor] = {}
    hooks = [
        layer.register_forward_post_hook(lambda layer, inputs, out, name=name: results.update({name: out}))
        for name, layer in layers.items()
    ]
    try:
        return model(x), results
    finally:
        for hook in hooks:
            hook.remove()

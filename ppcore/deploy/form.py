"""What a model hands over to be exported.

A model with `deployed()` returns a `Form` of its own; any other model is exported as it is, as one stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import paddle.nn as nn

from ppcore.deploy.rules import Padding, Strips
from ppcore.errors import ConfigError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Stage:
    """One exported graph.

    Attributes:
        name: of its files.
        layer: a Paddle layer; its `forward` takes the inputs in order.
        inputs: their names and shapes, None for an open size. float32.
        outputs: names.
    """

    name: str
    layer: nn.Layer
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Form:
    """A model to export: stages that run one after the other, each reading the image and earlier outputs by name.

    Attributes:
        stages: the first reads `x`, [B, 3, H, W]; the last output of the last stage is the result.
        padding: None for a model whose result is not an image, or that takes its size only.
        strips: how the last stage may be cut, or None.
        bf16: with precision bf16, the stages in which convolutions (and nothing else) are computed in
            bfloat16; None leaves the choice to the engine.
        onednn: whether Paddle Inference may use oneDNN. False where its operators make wrong numbers of a
            graph with open sizes.
    """

    stages: tuple[Stage, ...]
    padding: Padding | None = None
    strips: Strips | None = None
    bf16: tuple[str, ...] | None = None
    onednn: bool = True


def form_of(model: nn.Layer) -> Form:
    """The form a model is exported in: its own, or the model as it is.

    Raises:
        ConfigError: the model has no weights to export.
    """
    if not getattr(model, "needs_weights", True):
        raise ConfigError(f"{type(model).__name__} is a method without weights: there is nothing to export")
    model.eval()
    if hasattr(model, "deployed"):
        return model.deployed()
    if getattr(model, "task", None) == "restoration":
        return Form((Stage("model", model, {"x": (None, 3, None, None)}, ("y",)),), padding=Padding())
    height, width = input_size(model) or (None, None)
    return Form((Stage("model", model, {"x": (None, 3, height, width)}, ("logits",)),))


def input_size(model: nn.Layer) -> tuple[int, int] | None:
    """(height, width) of the images a model takes. A patch embedding has one; None for a model that takes any size."""
    size = getattr(getattr(model, "patch_embed", model), "img_size", None)
    return None if size is None else tuple(size)

"""What a model hands over to be exported: its stages, and what a predictor must know of them beside their graphs.

A model with `export_spec()` returns an `ExportSpec` of its own; any other model is exported as it is, as one stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppcore.errors import ConfigError
from ppcore.model import traits

if TYPE_CHECKING:
    from paddle import nn

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Stage:
    """One exported graph.

    Attributes:
        name: of its files.
        layer: a Paddle layer; its `forward` takes the inputs in order.
        inputs: their names and shapes, None for an open size.
        outputs: names.
        dtype: of the inputs.
    """

    name: str
    layer: "nn.Layer"
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Padding:
    """The sizes the first stage takes; an image is extended to one by reflection and cut back at the end.

    Attributes:
        multiple: height and width are divisible by it,
        least: and at least this,
        least_either: and one of the two is at least this, else both are made so.
        scale: output pixels of an input pixel; the result is cut back to the image's size times this.
    """

    multiple: int = 1
    least: int = 1
    least_either: int = 1
    scale: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The padded size."""
        height, width = (max(-(-size // self.multiple) * self.multiple, self.least) for size in (height, width))
        if max(height, width) < self.least_either:
            return self.least_either, self.least_either
        return height, width


@dataclass(frozen=True)
class TileRule:
    """How a stage may run tile by tile, which bounds its memory.

    Attributes:
        stage: its name; it has one output.
        axis: of its inputs that is cut.
        channels: axis of its inputs that holds the channels.
        output_axis: of its output that this becomes.
        scale: output pixels of one input pixel.
        halo: input pixels beyond a tile that its output depends on.
    """

    stage: str
    axis: int
    channels: int
    output_axis: int
    scale: int
    halo: int


@dataclass(frozen=True)
class ExportSpec:
    """A model to export: stages that run one after the other, each reading the image and earlier outputs by name.

    Attributes:
        stages: the first reads `x`, [B, C, H, W]; the last output of the last stage is the result.
        padding: None for a model whose result is not an image, or that takes its size only.
        enlarged_first: whether its images have been enlarged by bicubic interpolation before (`ppcore.model.Model`).
        tiles: how one of them may be cut, or None.
        bf16: with precision bf16, the stages in which convolutions (and nothing else) are computed in
            bfloat16; None leaves the choice to the engine.
        onednn: whether Paddle Inference may use oneDNN. False where its operators make wrong numbers of a
            graph with open sizes.
        tolerance: how far an exported result may be from the model's, over the largest absolute value of the latter.
            Float32 rounding by default; more for a model in which rounding jumps.
    """

    stages: tuple[Stage, ...]
    padding: Padding | None = None
    enlarged_first: bool = False
    tiles: TileRule | None = None
    bf16: tuple[str, ...] | None = None
    onednn: bool = True
    tolerance: float = 2e-5


def spec_of(model: "nn.Layer") -> ExportSpec:
    """What a model is exported as: its own `export_spec()`, or the model as it is, in one stage.

    Raises:
        ConfigError: the model has no weights to export.
    """
    about = traits(model)
    if not about.needs_weights:
        raise ConfigError(f"{type(model).__name__} is a method without weights: there is nothing to export")
    model.eval()
    return as_it_is(model) if about.export_spec is None else about.export_spec()


def as_it_is(model: "nn.Layer") -> ExportSpec:
    """The model itself as the only stage."""
    about = traits(model)
    if about.makes_images:
        stage = Stage("model", model, {"x": (None, about.in_chans, None, None)}, ("y",))
        return ExportSpec((stage,), padding=Padding(scale=about.scale), enlarged_first=about.enlarged_first)
    height, width = about.img_size or (None, None)
    return ExportSpec((Stage("model", model, {"x": (None, about.in_chans, height, width)}, ("logits",)),))

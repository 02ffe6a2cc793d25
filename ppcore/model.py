"""What a model may say of itself, beside computing: the one place where its optional attributes are read.

A network needs none of them. `traits(model)` gives the answers with their defaults, so that nothing else asks a model
what it has.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from paddle import Tensor, nn


class Model(Protocol):
    """The optional attributes, each with what its absence means.

    Attributes:
        num_classes: outputs of a classifier; absent: not a classifier.
        makes_images: whether the output is an image of the input's size (or `scale` times it); absent: no.
        scale: output pixels of an input pixel, on each side, of a network that makes images; absent: 1.
        enlarged_first: whether the images it takes have been enlarged by bicubic interpolation, to the size of its output;
            absent: no.
        reach: input pixels on each side that an output pixel depends on, of a network that makes images and looks at
            nothing beyond; absent: not known, so that it is not cut into tiles.
        needs_weights: False for a method that has none to train or to load; absent: True.
        img_size: (height, width) of the images it takes, its own or its `patch_embed`'s; absent or None: any size.
        other_sizes: whether it also takes images of other sizes than `img_size`; absent: no.
        in_chans: channels of the images it takes, its own or its `patch_embed`'s; absent: 3.
        blocks: its layers that map one tensor to one, changing nothing else (no running statistics), and hold most of
            what a forward pass keeps: `Global.recompute` lets them forget it. Absent: none.
    """

    num_classes: int
    makes_images: bool
    scale: int
    enlarged_first: bool
    reach: int
    needs_weights: bool
    img_size: tuple[int, int] | None
    other_sizes: bool
    in_chans: int
    blocks: "Iterable[nn.Layer]"

    def weight_maps(self) -> Mapping[str, Any]:
        """`{layout: ppcore.weights.WeightMap}` of other people's files; absent: our own layout alone."""
        ...

    def weight_fitting(self) -> Any:
        """The `ppcore.weights.Fitting`: what of weights of another size is resampled; absent: `pos_embed`."""
        ...

    def export_spec(self) -> Any:
        """The `ppcore.deploy.ExportSpec` it is exported in; absent: as it is, in one stage."""
        ...

    def layer_ids(self) -> Mapping[str, int]:
        """The layer of every parameter by name, 0 next to the input; absent: no layer-wise learning rates."""
        ...

    def attention_rollout(self, x: Any) -> Any:
        """How much of each patch reaches what the head reads (`ppcore.layers.rollout`), [B, rows, columns]; absent: no attention."""
        ...

    def pictures(self, x: Any, numbers: Any = None, show: Any = None, **options: Any) -> list[list[dict[str, Any]]]:
        """What it draws of images [B, C, H, W], for each a list of panels {caption, image uint8 [H, W, 3]}; absent: nothing.

        Args:
            x: as it takes them.
            numbers: of the images, which what is random follows; None: 0, 1, ….
            show: draws an image as it takes them, `ppcore.photo.panels.Show`; None: stretched to the range of each.
            options: its own, annotated: the keys of `Infer.pictures`.
        """
        ...

    def trunk(self, x: Any) -> tuple[Any, Any]:
        """What is global of an image network (with `tail`, `factor`, `padded_size`, `tail_reach`); absent: not split."""
        ...


# What batch norms keep of the batches they have seen: Paddle lists it among the parameters.
_STATISTICS = ("_mean", "_variance")


def trained_parameters(model: "nn.Layer") -> "dict[str, Tensor]":
    """All parameters by name, frozen ones too, without the running statistics of batch norms."""
    return {name: p for name, p in model.named_parameters() if name.rpartition(".")[2] not in _STATISTICS}


def parameter_count(model: "nn.Layer") -> int:
    """Values of all parameters, frozen ones too, as papers count them: without the running statistics of batch norms."""
    return sum(math.prod(p.shape) for p in trained_parameters(model).values())


@dataclass(frozen=True)
class Traits:
    """The answers of one model; see `Model`."""

    num_classes: int | None
    makes_images: bool
    scale: int
    enlarged_first: bool
    reach: int | None
    needs_weights: bool
    img_size: tuple[int, int] | None
    other_sizes: bool
    in_chans: int
    blocks: "tuple[nn.Layer, ...]"
    weight_maps: Callable[[], Mapping[str, Any]]
    weight_fitting: Callable[[], Any] | None
    export_spec: Callable[[], Any] | None
    layer_ids: Callable[[], Mapping[str, int]] | None
    pictures: Callable[..., list[list[dict[str, Any]]]] | None
    has_rollout: bool
    splits: bool


def traits(model: "nn.Layer") -> Traits:
    """What a model says of itself, and the defaults of what it does not say."""
    entry = getattr(model, "patch_embed", model)
    size = getattr(entry, "img_size", None)
    return Traits(
        num_classes=getattr(model, "num_classes", None),
        makes_images=getattr(model, "makes_images", False),
        scale=getattr(model, "scale", 1),
        enlarged_first=getattr(model, "enlarged_first", False),
        reach=getattr(model, "reach", None),
        needs_weights=getattr(model, "needs_weights", True),
        img_size=None if size is None else tuple(size),
        other_sizes=getattr(model, "other_sizes", False),
        in_chans=getattr(entry, "in_chans", 3),
        blocks=tuple(getattr(model, "blocks", ())),
        weight_maps=getattr(model, "weight_maps", dict),
        weight_fitting=getattr(model, "weight_fitting", None),
        export_spec=getattr(model, "export_spec", None),
        layer_ids=getattr(model, "layer_ids", None),
        pictures=getattr(model, "pictures", None),
        has_rollout=hasattr(model, "attention_rollout"),
        splits=hasattr(model, "trunk"),
    )

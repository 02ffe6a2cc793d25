"""The networks of super-resolution as they are deployed: one stage, which may run tile by tile."""

from paddle import nn

from ppcore.deploy import ExportSpec, Padding, Stage, TileRule
from ppcore.model import traits


def export_spec(model: nn.Layer, deployed: nn.Layer | None = None) -> ExportSpec:
    """The deployed form of a network with its present weights.

    Args:
        model: says `in_chans`, `scale` (output pixels of an input pixel) and `reach` (input pixels that an output pixel
            depends on, on each side).
        deployed: what computes the same faster; None: the model itself.
    """
    model.eval()
    deployed = model if deployed is None else deployed
    deployed.eval()
    return ExportSpec(
        stages=(Stage("network", deployed, {"x": (None, model.in_chans, None, None)}, ("y",)),),
        padding=Padding(scale=model.scale),
        enlarged_first=traits(model).enlarged_first,
        tiles=TileRule(stage="network", axis=2, channels=1, output_axis=2, scale=model.scale, halo=model.reach),
    )

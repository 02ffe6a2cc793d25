"""What `ppcore.deploy.export_model` writes of LITv2: the model for images of its `img_size`, any number of them."""

from dataclasses import replace

from paddle import nn

from ppcore.deploy import ExportSpec
from ppcore.deploy.export_spec import as_it_is


def export_spec(model: nn.Layer) -> ExportSpec:
    """The model as it is; Paddle Inference 3.3.1 fails on the graph's token merging with oneDNN, and runs without."""
    return replace(as_it_is(model), onednn=False)

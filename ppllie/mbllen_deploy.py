"""MBLLEN as it is deployed: the network, tile by tile where the image is large, and the post-processing of the whole.

Transposed convolutions of stride 1 are ordinary ones of the image with a border of zeros and the kernel turned round, which
all engines have a fast form of.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.deploy import ExportSpec, Padding, Stage, TileRule
from ppllie.mbllen_postprocess import postprocess


class Network(nn.Layer):
    """`MBLLEN.network` with convolutions alone."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        self.features, self.fusion = model.features, model.fusion
        self.branches = nn.LayerList([_branch(branch) for branch in model.branches])

    def forward(self, x):
        enhanced = []
        for feature, branch in zip(self.features, self.branches):  # noqa: B905  (to_static knows no strict)
            x = F.relu(feature(x))
            enhanced.append(branch(x))
        return F.relu(self.fusion(paddle.concat(enhanced, axis=1)))


def _branch(branch: nn.Layer) -> nn.Sequential:
    layers = [*branch.convs, *(_turned(layer) for layer in branch.deconvs)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def _turned(layer: nn.Conv2DTranspose) -> nn.Conv2D:
    """The convolution that a transposed one of stride 1 is."""
    weight = layer.weight.numpy()  # (in, out, kh, kw)
    inputs, outputs, size, _ = weight.shape
    conv = nn.Conv2D(inputs, outputs, size, padding=size - 1)
    conv.weight.set_value(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).copy())
    conv.bias.set_value(layer.bias.numpy())
    return conv


class Postprocess(nn.Layer):
    """`postprocess` of whole images [B, 3, H, W]."""

    def __init__(self):
        super().__init__()
        # Paddle saves no stage without weights.
        self.one = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))

    def forward(self, y):
        return postprocess(y * self.one)


def export_spec(model: nn.Layer) -> ExportSpec:
    """The deployed form of an `MBLLEN` with its present weights."""
    from ppllie.mbllen import LEAST

    model.eval()
    image = (None, 3, None, None)
    stages = [Stage("network", Network(model), {"x": image}, ("y",))]
    if model.postprocess == "released":
        stages.append(Stage("postprocess", Postprocess(), {"y": image}, ("z",)))
    return ExportSpec(
        stages=tuple(stages),
        padding=Padding(least=LEAST),
        tiles=TileRule(stage="network", axis=2, channels=1, output_axis=2, scale=1, halo=model.reach),
        bf16=("network",),
        # The post-processing divides by what it measures.
        tolerance=2e-5 if model.postprocess == "none" else 2e-4,
    )

"""SimCLR's projection head."""

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks, init


class _DenseNorm(nn.Layer):
    """A linear layer without bias and a batch norm, which may have a scale alone."""

    def __init__(self, in_dim: int, out_dim: int, *, shift: bool):
        super().__init__()
        self.dense = nn.Linear(in_dim, out_dim, weight_attr=init.attr(init.Gaussian(0.01)), bias_attr=False)
        learned = None if shift else False
        self.norm = nn.BatchNorm1D(
            out_dim, momentum=0.9, epsilon=1e-5, weight_attr=learned, bias_attr=learned
        )  # fmt: skip
        # Not the norm's own weight: with a weight and no bias, Paddle's batch norm gives the weight no gradient.
        self.scale = None if shift else self.create_parameter([out_dim], attr=init.attr(init.Ones()))

    def forward(self, x):
        x = self.norm(self.dense(x))
        return x if self.scale is None else x * self.scale


class ProjectionHead(nn.Layer):
    """A perceptron between features and the contrastive loss (§4.2, appendix B.5; v2 has three layers).

    Every layer is linear without bias, with a batch norm, and a ReLU between layers; the last batch norm has no shift.
    `Global.sync_batch_norm` makes the norms those of all processes, as SimCLR's are.

    Args:
        in_dim: channels of the features.
        out_dim: channels of the projection.
        num_layers: 2 (the paper) or 3 (v2, the code's default).
        hidden_dim: channels between the layers; None: those of the features.

    Shape:
        [B, in_dim] -> [B, out_dim].
    """

    def __init__(self, in_dim: int, out_dim: int = 128, *, num_layers: int = 2, hidden_dim: int | None = None):
        super().__init__()
        checks.whole(self, 1, in_dim=in_dim, out_dim=out_dim, num_layers=num_layers)
        checks.whole(self, 1, optional=True, hidden_dim=hidden_dim)
        self.in_dim = in_dim
        hidden = hidden_dim or in_dim
        widths = [in_dim] + [hidden] * (num_layers - 1) + [out_dim]
        self.layers = nn.LayerList(
            _DenseNorm(widths[i], widths[i + 1], shift=i < num_layers - 1) for i in range(num_layers)
        )

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < len(self.layers) - 1:
                x = F.relu(x)
        return x

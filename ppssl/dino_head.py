"""DINO's projection head, and a network with one: what student and teacher are."""

from collections.abc import Sequence

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import Linear, checks, init


class WeightNormLinear(nn.Layer):
    """y = x · (g · v / |v|) without bias, |v| of each output's weights (Salimans & Kingma 2016).

    Args:
        in_features: channels of x.
        out_features: outputs.
        train_g: whether g is trained; it stays at 1 otherwise.

    Shape:
        [..., in_features] -> [..., out_features]. `weight_v` is [in, out], `weight_g` [1, out].
    """

    def __init__(self, in_features: int, out_features: int, *, train_g: bool):
        super().__init__()
        self.weight_g = self.create_parameter([1, out_features], attr=init.attr(init.Ones()))
        self.weight_g.stop_gradient = not train_g
        self.weight_v = self.create_parameter([in_features, out_features], attr=init.attr(init.UniformFanIn()))

    def forward(self, x):
        norm = paddle.sqrt(self.weight_v.square().sum(axis=0, keepdim=True))
        return paddle.matmul(x, self.weight_v * (self.weight_g / norm))


class DINOHead(nn.Layer):
    """A perceptron with GELU, its output of length 1, and a weight-normalised linear layer (§3.2, appendix C).

    Args:
        in_dim: channels of the features.
        out_dim: outputs, K.
        hidden_dim: channels between the layers of the perceptron.
        bottleneck_dim: channels of its output.
        num_layers: its linear layers.
        batch_norm: whether batch norms stand between them.
        train_last_norm: whether the norms g of the last layer are trained (`norm_last_layer: false` of the official code,
            which says that it is safe for ViT-S only).

    Shape:
        [B, in_dim] -> [B, out_dim].
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int = 65536,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        num_layers: int = 3,
        batch_norm: bool = False,
        train_last_norm: bool = False,
    ):
        super().__init__()
        checks.whole(
            self, 1, in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, bottleneck_dim=bottleneck_dim,
            num_layers=num_layers,
        )  # fmt: skip
        checks.flag(self, batch_norm=batch_norm, train_last_norm=train_last_norm)
        self.in_dim = in_dim
        if num_layers == 1:
            self.mlp = Linear(in_dim, bottleneck_dim)
        else:
            layers: list[nn.Layer] = []
            for number in range(num_layers - 1):
                layers.append(Linear(hidden_dim if number else in_dim, hidden_dim))
                layers += [nn.BatchNorm1D(hidden_dim), nn.GELU()] if batch_norm else [nn.GELU()]
            self.mlp = nn.Sequential(*layers, Linear(hidden_dim, bottleneck_dim))
        self.last_layer = WeightNormLinear(bottleneck_dim, out_dim, train_g=train_last_norm)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), axis=-1, epsilon=1e-12))


class DINONetwork(nn.Layer):
    """A backbone and a head.

    Args:
        backbone: [B, C, H, W], of several sizes -> [B, D].
        head: [B, D] -> [B, K].
    """

    def __init__(self, backbone: nn.Layer, head: DINOHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, crops: Sequence[paddle.Tensor]):
        """Outputs [V·B, K] of V crops, each [B, C, H, W], crop after crop.

        The backbone runs once for neighbours of one size, the head once for all.
        """
        groups: list[list[paddle.Tensor]] = []
        for crop in crops:
            if groups and groups[-1][0].shape[2:] == crop.shape[2:]:
                groups[-1].append(crop)
            else:
                groups.append([crop])
        features = paddle.concat([self.backbone(paddle.concat(group)).flatten(1) for group in groups])
        if features.shape[1] != self.head.in_dim:
            raise ConfigError(
                f"DINO: the network of Arch gives {features.shape[1]} features, the head is made for {self.head.in_dim}"
            )
        return self.head(features)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from ppssl.dino_weights import network_maps  # the map describes this class: import when asked

        return network_maps()

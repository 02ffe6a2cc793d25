"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146) as FixMatch trains them (arXiv 2001.07685).

Pre-activation units with a leaky ReLU of slope 0.1; batch norms whose statistics move by a thousandth, with epsilon 1e-3; padding as
TensorFlow's `same`, so that a stride of 2 pads below and to the right alone. Convolutions have no biases, as in the ports to
torch: each is followed by norms, which would take them away.
"""

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.layers import checks, init

SLOPE = 0.1


def _conv(in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Conv2D:
    weight = init.attr(init.Gaussian(math.sqrt(2 / (kernel**2 * out_chans))))
    return nn.Conv2D(in_chans, out_chans, kernel, stride=stride, padding="SAME", weight_attr=weight, bias_attr=False)


def _norm(channels: int) -> nn.BatchNorm2D:
    return nn.BatchNorm2D(channels, momentum=0.999, epsilon=1e-3)


class PreActivationUnit(nn.Layer):
    """Norm, leaky ReLU, 3x3, norm, leaky ReLU, 3x3, and the shortcut, projected where the width changes.

    Args:
        in_chans: channels that enter.
        out_chans: channels that leave.
        stride: of the first convolution and of the shortcut.
        activated_shortcut: whether the shortcut begins after the first activation, as in the network's first unit.

    Shape:
        [B, in_chans, H, W] -> [B, out_chans, ⌈H/stride⌉, ⌈W/stride⌉].
    """

    def __init__(self, in_chans: int, out_chans: int, *, stride: int = 1, activated_shortcut: bool = False):
        super().__init__()
        self.norm1, self.conv1 = _norm(in_chans), _conv(in_chans, out_chans, 3, stride)
        self.norm2, self.conv2 = _norm(out_chans), _conv(out_chans, out_chans, 3)
        self.shortcut = None if in_chans == out_chans and stride == 1 else _conv(in_chans, out_chans, 1, stride)
        self.activated_shortcut = activated_shortcut

    def forward(self, x):
        y = F.leaky_relu(self.norm1(x), SLOPE)
        x = y if self.activated_shortcut else x
        y = self.conv2(F.leaky_relu(self.norm2(self.conv1(y)), SLOPE))
        return y + (x if self.shortcut is None else self.shortcut(x))


class WideResNet(nn.Layer):
    """A wide residual network for small images, WRN-(2 · groups · units + groups + 1)-(width / 16).

    The first group keeps the size, each other halves it and doubles the width.

    Args:
        units: of each group; 4.
        width: channels of the first group: 16 times the widening factor.
        groups: groups of units; 3.
        stem: channels of the first convolution.
        in_chans: input channels.
        num_classes: outputs; 0: the pooled features.

    Shape:
        [B, in_chans, H, W] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(
        self,
        *,
        units: int = 4,
        width: int = 32,
        groups: int = 3,
        stem: int = 16,
        in_chans: int = 3,
        num_classes: int = 10,
    ):
        super().__init__()
        checks.whole(self, 1, units=units, width=width, groups=groups, stem=stem, in_chans=in_chans)
        checks.whole(self, 0, num_classes=num_classes)
        self.in_chans, self.num_classes = in_chans, num_classes
        self.num_features = width << (groups - 1)
        self.stem = _conv(in_chans, stem, 3)
        self.groups, before = nn.LayerList(), stem
        for number in range(groups):
            own, made = width << number, []
            for unit in range(units):
                first = unit == 0
                made.append(
                    PreActivationUnit(
                        before,
                        own,
                        stride=2 if first and number else 1,
                        activated_shortcut=first and number == 0,
                    )
                )
                before = own
            self.groups.append(nn.Sequential(*made))
        self.norm = _norm(before)
        glorot = init.attr(init.Gaussian(math.sqrt(2 / (before + num_classes))))
        zeros = init.attr(init.Zeros())
        self.head = nn.Linear(before, num_classes, glorot, zeros) if num_classes else nn.Identity()

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x):
        """The map after the last activation: [B, C, H, W] -> [B, H/2^(groups-1), W/2^(groups-1), num_features]."""
        x = self.stem(x)
        for group in self.groups:
            x = group(x)
        return F.leaky_relu(self.norm(x), SLOPE).transpose([0, 2, 3, 1])

    def forward_head(self, x, pre_logits: bool = False):
        """The mean over a map [B, h, w, num_features], then the classifier, unless the mean is asked for."""
        pooled = x.mean(axis=[1, 2])
        return pooled if pre_logits else self.head(pooled)

    def forward_intermediates(self, x) -> dict[str, paddle.Tensor]:
        """Every stage by name.

        Returns:
            `stem` and `group_0`, … [B, h, w, C]; `norm`, the map after the last activation; `pre_logits` [B, num_features];
            `logits` [B, num_classes].
        """
        x = self.stem(x)
        stages = {"stem": x}
        for number, group in enumerate(self.groups):
            x = stages[f"group_{number}"] = group(x)
        stages = {name: x.transpose([0, 2, 3, 1]) for name, x in stages.items()}
        stages["norm"] = F.leaky_relu(self.norm(x), SLOPE).transpose([0, 2, 3, 1])
        stages["pre_logits"] = self.forward_head(stages["norm"], pre_logits=True)
        return stages | {"logits": self.head(stages["pre_logits"])}


def wide_resnet28_2(**kwargs) -> WideResNet:
    """WRN-28-2, FixMatch's network on CIFAR-10 and SVHN: 1,467,610 parameters with 10 classes."""
    return WideResNet(**{"width": 32, **kwargs})


def wide_resnet28_8(**kwargs) -> WideResNet:
    """WRN-28-8, FixMatch's network on CIFAR-100: 23,401,012 parameters, with 100 classes."""
    return WideResNet(**{"width": 128, "num_classes": 100, **kwargs})


def wide_resnet37_2(**kwargs) -> WideResNet:
    """WRN-37-2, of four groups, FixMatch's network on STL-10's images of 96 pixels: 5,929,434 parameters with 10 classes."""
    return WideResNet(**{"width": 32, "groups": 4, **kwargs})

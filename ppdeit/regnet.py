"""RegNet (Radosavovic et al. 2020, "Designing Network Design Spaces", arXiv 2003.13678): DeiT's teacher.

DeiT distils from RegNetY-16GF (section 5.2, Table 2: 82.9% top-1). Parameter names are timm's and the
official teacher file's; BatchNorm's buffers have Paddle's (`_mean`, `_variance`).
"""

import math
from collections.abc import Sequence

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import DropPath, checks, drop_path_rates, init
from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, TRANSPOSED, VECTOR, Arrays, Table, load, store


def _conv(in_chans: int, out_chans: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False):
    # He et al. 2015 by fan-out, which for a grouped convolution is that of one group.
    fan_out = kernel**2 * out_chans // groups
    return nn.Conv2D(
        in_chans,
        out_chans,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        weight_attr=init.attr(init.Gaussian(math.sqrt(2 / fan_out))),
        bias_attr=init.attr(init.Zeros()) if bias else False,
    )


class BatchNorm(nn.BatchNorm2D):
    """Batch normalisation, epsilon 1e-5; a training step moves the running statistics by a tenth.

    (torch's momentum 0.1 is Paddle's 0.9.) Paddle's own forward warns in every training run that it
    tracks statistics, which is what is wanted.
    """

    def __init__(self, channels: int, *, zero: bool = False):
        gain = init.Zeros() if zero else init.Ones()
        super().__init__(
            channels, momentum=0.9, epsilon=1e-5, weight_attr=init.attr(gain), bias_attr=init.attr(init.Zeros())
        )

    def forward(self, x):
        return F.batch_norm(
            x, self._mean, self._variance, self.weight, self.bias, training=self.training, momentum=0.9, epsilon=1e-5
        )


class ConvNorm(nn.Layer):
    """Convolution without bias, then BatchNorm."""

    def __init__(
        self, in_chans: int, out_chans: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, zero: bool = False
    ):
        super().__init__()
        self.conv = _conv(in_chans, out_chans, kernel, stride=stride, groups=groups)
        self.bn = BatchNorm(out_chans, zero=zero)

    def forward(self, x):
        return self.bn(self.conv(x))


class SqueezeExcite(nn.Layer):
    """Channels scaled by a sigmoid gate computed from their means (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, reduced: int):
        super().__init__()
        self.fc1 = _conv(channels, reduced, 1, bias=True)
        self.fc2 = _conv(reduced, channels, 1, bias=True)

    def forward(self, x):  # [B, C, H, W]
        gate = self.fc2(F.relu(self.fc1(x.mean(axis=[2, 3], keepdim=True))))  # [B, C, 1, 1]
        return x * F.sigmoid(gate)


class Bottleneck(nn.Layer):
    """Residual block 1×1, grouped 3×3 (strided), squeeze-and-excitation, 1×1; ReLU after the sum (§3.2, figure 4).

    All three convolutions have the block's width. The shortcut is projected where shape changes.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        *,
        stride: int,
        group_width: int,
        se_ratio: float,
        drop_path: float,
        zero_init_last: bool,
    ):
        super().__init__()
        self.conv1 = ConvNorm(in_chans, out_chans)
        self.conv2 = ConvNorm(out_chans, out_chans, 3, stride=stride, groups=out_chans // group_width)
        # The gate is narrowed by the block's input width, not by the width it acts on.
        self.se = SqueezeExcite(out_chans, round(in_chans * se_ratio)) if se_ratio else nn.Identity()
        self.conv3 = ConvNorm(out_chans, out_chans, zero=zero_init_last)
        changes = in_chans != out_chans or stride != 1
        self.downsample = ConvNorm(in_chans, out_chans, stride=stride) if changes else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x):  # [B, C_in, H, W] -> [B, C_out, H/stride, W/stride]
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y))
        y = self.conv3(self.se(y))
        return F.relu(self.drop_path(y) + self.downsample(x))


class Stem(ConvNorm):
    """3×3 convolution, BatchNorm, ReLU."""

    def forward(self, x):
        return F.relu(super().forward(x))


class Head(nn.Layer):
    """Mean over the feature map, then a linear layer that starts at N(0, .01)."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        weight, bias = init.attr(init.Gaussian(0.01)), init.attr(init.Zeros())
        self.fc = nn.Linear(num_features, num_classes, weight, bias) if num_classes else nn.Identity()

    def forward(self, x, pre_logits: bool = False):  # [B, C, H, W]
        pooled = x.mean(axis=[2, 3])  # [B, C]
        return pooled if pre_logits else self.fc(pooled)


class RegNet(nn.Layer):
    """RegNet of any stages: RegNetY with squeeze-and-excitation, RegNetX without (se_ratio 0).

    Args:
        widths: channels of each stage, a multiple of `group_width`.
        depths: blocks of each stage.
        group_width: channels of a group of the 3×3 convolutions.
        se_ratio: gate's inner channels over the block's input channels; 0 builds no gates.
        stem_width: channels of the stem.
        stem_stride: stride of the stem; 1 for small images.
        strides: stride of each stage's first block; all 2 when None (the paper).
        in_chans: input channels.
        num_classes: classes of the head; 0 builds no head and `forward` returns the pooled features.
        drop_path_rate: stochastic depth, linear from 0 at the first block.
        zero_init_last: the last BatchNorm gain of a block starts at 0, so a fresh block is its shortcut.

    Shape:
        [B, in_chans, H, W] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range, lists of unequal length, or a width that is not whole groups.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        group_width: int,
        se_ratio: float = 0.25,
        stem_width: int = 32,
        stem_stride: int = 2,
        strides: Sequence[int] | None = None,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path_rate: float = 0.0,
        zero_init_last: bool = True,
    ):
        super().__init__()
        checks.wholes(self, 1, widths=widths, depths=depths, strides=() if strides is None else strides)
        checks.whole(
            self, 1, group_width=group_width, stem_width=stem_width, stem_stride=stem_stride, in_chans=in_chans
        )
        checks.whole(self, 0, num_classes=num_classes)
        checks.rate(self, drop_path_rate=drop_path_rate)
        checks.number(self, se_ratio=se_ratio)
        checks.flag(self, zero_init_last=zero_init_last)
        strides = [2] * len(widths) if strides is None else list(strides)
        if not len(widths) == len(depths) == len(strides) > 0:
            raise ConfigError(
                f"RegNet: widths, depths and strides give one value a stage, "
                f"not {len(widths)}, {len(depths)} and {len(strides)}"
            )
        if any(width % group_width for width in widths):
            raise ConfigError(f"RegNet: every width of {list(widths)} must be a multiple of group_width {group_width}")
        if se_ratio and min(stem_width, *widths) * se_ratio <= 0.5:
            raise ConfigError(
                f"RegNet: se_ratio {se_ratio} of {min(stem_width, *widths)} channels is none: raise it or set it to 0"
            )
        self.stem = Stem(in_chans, stem_width, 3, stride=stem_stride)
        self.num_stages, self.num_features, self.num_classes = len(widths), widths[-1], num_classes
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        before = stem_width
        for i, (width, depth, stride) in enumerate(zip(widths, depths, strides, strict=True), 1):
            stage = nn.Sequential()
            for j in range(1, depth + 1):
                block = Bottleneck(
                    before,
                    width,
                    stride=stride if j == 1 else 1,
                    group_width=group_width,
                    se_ratio=se_ratio,
                    drop_path=next(rates),
                    zero_init_last=zero_init_last,
                )
                stage.add_sublayer(f"b{j}", block)
                before = width
            self.add_sublayer(f"s{i}", stage)
        self.head = Head(self.num_features, num_classes)

    def forward_features(self, x):
        """The last stage's feature map: [B, C, H, W] -> [B, num_features, h, w]."""
        x = self.stem(x)
        for i in range(1, self.num_stages + 1):
            x = getattr(self, f"s{i}")(x)
        return x

    def forward_head(self, features, pre_logits: bool = False):
        """Pools [B, num_features, h, w] and classifies: [B, num_classes], or [B, num_features] before the head."""
        return self.head(features, pre_logits)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(self, x) -> dict[str, paddle.Tensor]:
        """Every stage by name: `stem`, `s1`, `s2`, … [B, C, h, w], `pre_logits` [B, num_features], `logits`."""
        stages = {"stem": self.stem(x)}
        x = stages["stem"]
        for i in range(1, self.num_stages + 1):
            x = stages[f"s{i}"] = getattr(self, f"s{i}")(x)
        stages["pre_logits"] = self.forward_head(x, pre_logits=True)
        stages["logits"] = self.forward_head(x)
        return stages

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head by a fresh one of `num_classes` classes (0: none)."""
        checks.whole(self, 0, num_classes=num_classes)
        self.num_classes = num_classes
        self.head = Head(self.num_features, num_classes)

    def weight_maps(self) -> dict[str, WeightMap]:
        """Layouts these weights can be read from and written to: `timm`, and `deit`, the official teacher's, the same."""
        return {"timm": _TIMM, "deit": _TIMM}


def regnety_160(
    *,
    widths: Sequence[int] = (224, 448, 1232, 3024),
    depths: Sequence[int] = (2, 4, 11, 1),
    group_width: int = 112,
    **kwargs,
) -> RegNet:
    """RegNetY-16GF, DeiT's teacher: 83,590,140 parameters. Keyword arguments are those of `RegNet`."""
    return RegNet(widths=widths, depths=depths, group_width=group_width, **kwargs)


_TABLE: Table = [
    (r"(.*(?:conv\d?\.conv|stem\.conv|downsample\.conv|se\.fc[12])\.weight)", "{0}", CONV),
    (r"(.*(?:\.bn\.(?:weight|bias)|se\.fc[12]\.bias))", "{0}", VECTOR),
    (r"(.*\.bn)\._mean", "{0}.running_mean", VECTOR),
    (r"(.*\.bn)\._variance", "{0}.running_var", VECTOR),
    (r"(head\.fc\.weight)", "{0}", TRANSPOSED),
    (r"(head\.fc\.bias)", "{0}", VECTOR),
]


def _load(arrays: Arrays, model: nn.Layer) -> Arrays:
    # torch counts the batches a BatchNorm has seen; nothing is computed from it.
    return load(_TABLE, {n: a for n, a in arrays.items() if not n.endswith(".num_batches_tracked")}, model)


def _store(state: Arrays, model: nn.Layer) -> Arrays:
    return store(_TABLE, state, model, "timm")


_TIMM = WeightMap(_load, _store, framework="pt")

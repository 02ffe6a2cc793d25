"""SKF's semantic-aware embedding block (Wu et al., CVPR 2023): image features attend to semantic ones.

Both are normalised by the same layer norm over channels. Queries come from the semantic feature, keys and values from
the image's; attention is between channels, [d / heads, d / heads], so its cost is linear in the pixels. The residual
adds to the normalised image feature, as in the released code, not to the feature itself.
"""

from typing import Literal

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import Conv2D, checks, init

Gelu = Literal["tanh", "erf"]


def _conv(in_chans: int, out_chans: int, kernel: int = 1, *, groups: int = 1, bias: bool = False) -> nn.Conv2D:
    """A convolution that keeps the size, initialised as torch's."""
    return Conv2D(
        in_chans,
        out_chans,
        kernel,
        padding=kernel // 2,
        groups=groups,
        weight_attr=init.attr(init.UniformFanIn()),
        bias_attr=init.attr(init.UniformFanIn(in_chans * kernel**2)) if bias else False,
    )


class ChannelLayerNorm(nn.Layer):
    """Layer norm of each pixel's channels (population variance, epsilon 1e-5) of [B, C, H, W]."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = self.create_parameter([channels], default_initializer=init.Ones())
        self.bias = self.create_parameter([channels], default_initializer=init.Zeros())

    def forward(self, x):
        centred = x - x.mean(axis=1, keepdim=True)
        variance = (centred * centred).mean(axis=1, keepdim=True)
        return centred / paddle.sqrt(variance + 1e-5) * self.weight.reshape([1, -1, 1, 1]) + self.bias.reshape(
            [1, -1, 1, 1]
        )


class CrossChannelAttention(nn.Layer):
    """Channel attention of `heads` heads: queries of the semantic feature, keys and values of the image's.

    The queries' 3x3 convolution is a full one, those of keys and values are depthwise (as released).
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.temperature = self.create_parameter([heads, 1, 1], default_initializer=init.Ones())
        self.kv = _conv(channels, 2 * channels)
        self.kv_conv = _conv(2 * channels, 2 * channels, 3, groups=2 * channels)
        self.q = _conv(channels, channels)
        self.q_conv = _conv(channels, channels, 3)
        self.out = _conv(channels, channels)

    def forward(self, image, semantic):
        """Two of [B, d, H, W] -> [B, d, H, W]."""
        keys, values = self.kv_conv(self.kv(image)).chunk(2, axis=1)
        q, k, v = (self._split(part) for part in (self.q_conv(self.q(semantic)), keys, values))
        q, k = (F.normalize(part, axis=-1, epsilon=1e-12) for part in (q, k))
        attention = F.softmax(paddle.matmul(q, k, transpose_y=True) * self.temperature, axis=-1)
        mixed = paddle.matmul(attention, v)  # [B, heads, d / heads, H·W]
        return self.out(mixed.reshape(image.shape))

    def _split(self, x):
        """[B, d, H, W] -> [B, heads, d / heads, H·W]."""
        return x.reshape([0, self.heads, x.shape[1] // self.heads, -1])


class GatedFeedForward(nn.Layer):
    """1x1 to twice the hidden width, 3x3 depthwise, GELU(first half) times the second half, 1x1 back."""

    def __init__(self, channels: int, hidden: int, gelu: Gelu):
        super().__init__()
        self.tanh = gelu == "tanh"
        self.project_in = _conv(channels, 2 * hidden)
        self.depthwise = _conv(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.project_out = _conv(hidden, channels)

    def forward(self, x):
        gate, value = self.depthwise(self.project_in(x)).chunk(2, axis=1)
        return self.project_out(F.gelu(gate, approximate=self.tanh) * value)


class SemanticEmbedding(nn.Layer):
    """The block: y = LN(R) + attention(LN(S), LN(R)), then y + feed-forward(LN2(y)).

    Args:
        semantic_channels: of the semantic feature S, which a 1x1 convolution brings to `channels`.
        channels: d of the image feature R; a multiple of `heads`.
        heads: of the attention.
        gelu: `tanh` as in SKF's fork of DRBN, `erf` as in that of SNR.

    Shape:
        R [B, d, H, W] and S [B, semantic_channels, h, w] of any size (resized to R's, nearest) -> [B, d, H, W].
        26,812, 7,238 and 7,414 parameters for (96, 32), (48, 16) and (59, 16).

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(self, semantic_channels: int, channels: int, *, heads: int = 2, gelu: Gelu = "tanh"):
        super().__init__()
        checks.whole(self, 1, semantic_channels=semantic_channels, channels=channels, heads=heads)
        checks.choice(self, ("tanh", "erf"), gelu=gelu)
        if channels % heads:
            raise ConfigError(f"SemanticEmbedding: channels is {channels}, but must be a multiple of {heads} heads")
        self.project = _conv(semantic_channels, channels, bias=True)
        self.norm1 = ChannelLayerNorm(channels)
        self.attention = CrossChannelAttention(channels, heads)
        self.norm2 = ChannelLayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels, int(channels * 2.66), gelu)

    def forward(self, image, semantic):
        semantic = self.project(F.interpolate(semantic, size=image.shape[2:], mode="nearest"))
        image, semantic = self.norm1(image), self.norm1(semantic)
        y = image + self.attention(image, semantic)
        return y + self.feed_forward(self.norm2(y))

"""Batch norm over the batches of all processes: a batch that is split among processes is normalised as one."""

from types import MethodType

import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.autograd import PyLayer

_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)


def synchronize_batch_norms(networks: nn.Layer) -> int:
    """Makes the batch norms of networks take their means and variances in training over the batches of all processes.

    The processes must call the same layers in the same order. Weights and their names stay, and evaluation is as before.
    On a GPU the layers become Paddle's `nn.SyncBatchNorm`, which has no kernel for a CPU; there they add up by `all_reduce`.

    Args:
        networks: a network, or what holds several.

    Returns:
        The number of batch norms.
    """
    norms = [layer for layer in networks.sublayers(include_self=True) if isinstance(layer, _NORMS)]
    if paddle.get_device().startswith("gpu"):
        nn.SyncBatchNorm.convert_sync_batchnorm(networks)
        return len(norms)
    for norm in norms:
        norm.forward = MethodType(_forward, norm)  # a method: a copied layer computes with its own weights
    return len(norms)


def _forward(norm: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """What the layer gives of x, [B, C, ...]."""
    if not norm.training or norm._use_global_stats:
        return type(norm).forward(norm, x)
    mean, variance, count = _moments(x.detach())
    with paddle.no_grad():
        for running, value in ((norm._mean, mean), (norm._variance, variance)):
            running.scale_(norm._momentum).add_(value.astype(running.dtype) * (1.0 - norm._momentum))
    y = _Standardise.apply(x, mean, paddle.rsqrt(variance + norm._epsilon), count)
    if norm.weight is not None:
        y = y * _channels(norm.weight, x)
    return y if norm.bias is None else y + _channels(norm.bias, x)


def _moments(x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Mean and variance [C], float32, of x [B, C, ...] over all processes, and the number of values of a channel, [1].

    Processes may have batches of different sizes. What they send is float64, in which the difference of a mean square and
    a squared mean loses nothing that float32 held.
    """
    axes = _all_but_channels(x)
    x = x.astype("float32")
    mean = x.mean(axis=axes, keepdim=True)
    variance = paddle.square(x - mean).mean(axis=axes).astype("float64")
    mean, count = mean.flatten().astype("float64"), x.size // x.shape[1]
    own = count * paddle.concat([mean, variance + mean * mean, paddle.ones([1], "float64")])
    dist.all_reduce(own)
    total = own[-1:]
    mean, square = (own[:-1] / total).chunk(2)
    return mean.astype("float32"), (square - mean * mean).astype("float32"), total.astype("float32")


class _Standardise(PyLayer):
    """(x - mean) · scale, where mean and scale are x's own over all processes, and its gradient has what passes through them."""

    @staticmethod
    def forward(ctx, x, mean, scale, count):
        y = (x.astype("float32") - _channels(mean, x)) * _channels(scale, x)
        ctx.save_for_backward(y, scale, count)
        ctx.dtype = x.dtype
        return y.astype(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        y, scale, count = ctx.saved_tensor()
        gradient, axes = gradient.astype("float32"), _all_but_channels(y)
        sums = paddle.concat([gradient.sum(axis=axes), (gradient * y).sum(axis=axes)])
        dist.all_reduce(sums)  # each process's loss depends on every other's images
        shift, slope = (sums / count).chunk(2)
        gradient = (gradient - _channels(shift, y) - y * _channels(slope, y)) * _channels(scale, y)
        return gradient.astype(ctx.dtype), None, None, None


def _all_but_channels(x: paddle.Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _channels(values: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
    """[C] -> [1, C, 1, ...], to go with x."""
    return values.reshape([1, -1] + [1] * (x.ndim - 2))

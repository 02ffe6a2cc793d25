"""Rows of all processes in one batch, with gradient: for losses that compare every image with every other."""

import paddle
import paddle.distributed as dist
from paddle.autograd import PyLayer


class _Gather(PyLayer):
    @staticmethod
    def forward(ctx, x):
        ctx.rows = x.shape[0]
        found: list[paddle.Tensor] = []
        dist.all_gather(found, x.detach())
        return paddle.concat(found)

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.clone()
        dist.all_reduce(total)  # every process's loss depends on these rows
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def gather_rows(x: paddle.Tensor) -> paddle.Tensor:
    """The rows of all processes, in the order of ranks: [B, ...] -> [W·B, ...]; x itself where there is one process.

    A row's gradient is the sum of those of all processes' losses. Where gradients of weights are then averaged over the
    processes, they are those of the mean of the losses. B must be the same in all.
    """
    return x if process_count() == 1 else _Gather.apply(x)


def process_count() -> int:
    """Processes that compute together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """This one's number."""
    return dist.get_rank() if dist.is_initialized() else 0

"""The contrast of two views of each image against all others: NT-Xent (SimCLR, equation 1), over all processes."""

import paddle
import paddle.nn.functional as F


def nt_xent(first: paddle.Tensor, second: paddle.Tensor, temperature: float) -> paddle.Tensor:
    """Mean over 2B anchors of -log of the softmax, among the 2B - 1 others, of the other view of the same image.

    Args:
        first: [B, P], one view of each image, of any length.
        second: [B, P], the other.
        temperature: τ, by which cosines are divided.
    """
    count = first.shape[0]
    rows = F.normalize(paddle.concat([first, second]).astype("float32"), axis=1, epsilon=1e-12)
    similar = paddle.matmul(rows, rows, transpose_y=True) / temperature
    itself = paddle.eye(2 * count) * 1e9
    positive = (rows * paddle.concat([rows[count:], rows[:count]])).sum(1) / temperature
    return (paddle.logsumexp(similar - itself, axis=1) - positive).mean()


def nt_xent_of_all(first: paddle.Tensor, second: paddle.Tensor, temperature: float, world) -> paddle.Tensor:
    """`nt_xent` over the views of all processes: each one's value is the whole loss.

    Each process takes the gradient for its own views, as anchors and as everybody's negatives, times the number of processes: the
    loop's mean over processes is then the gradient of the whole.

    Args:
        first: [B, P], this process's views.
        second: [B, P], the others of the same images.
        temperature: τ.
        world: the processes.
    """
    if world.size == 1:
        return nt_xent(first, second, temperature)
    both = paddle.stack([first, second], axis=1).astype("float32")  # [B, 2, P]
    parts = paddle.split(world.gather_rows(both), world.size)
    parts[world.rank] = both
    everything = paddle.concat(parts)
    loss = nt_xent(everything[:, 0], everything[:, 1], temperature)
    return loss.detach() + world.size * (loss - loss.detach())

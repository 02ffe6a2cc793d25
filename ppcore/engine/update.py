"""One update of a network's weights, in the pieces of which the training loop is made."""

import numpy as np
import paddle

from ppcore import optim


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of Paddle's generator for one update of one process (dropout, stochastic depth)."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def all_finite(parameters: list) -> bool:
    """Whether every entry of every tensor is a number (a loss says nothing of the update after it)."""
    return bool(paddle.isfinite(paddle.add_n([p.astype("float32").sum() for p in parameters])))


def backward(network, inputs, criterion, precision, micro_batches: int, *, synchronise: bool) -> paddle.Tensor:
    """Forward and backward of one micro-batch; returns its share of the step's loss."""
    if not synchronise:
        with network.no_sync():
            return backward(network, inputs, criterion, precision, micro_batches, synchronise=True)
    outputs = precision.forward(network, inputs["image"])
    loss = criterion(outputs, inputs) / micro_batches
    precision.scaler.scale(loss).backward()
    return loss.detach()


def update(optimizer, precision, trainable: list, clip_norm: float | None, report: bool) -> float | None:
    """One optimiser update; returns the gradient norm before clipping when it is to be reported."""
    norm = None
    precision.scaler.unscale_(optimizer)
    if clip_norm is not None or report:
        norm = optim.clip_grad_norm(trainable, clip_norm)
    precision.scaler.step(optimizer)
    precision.scaler.update()
    optimizer.clear_grad()
    return float(norm) if report else None

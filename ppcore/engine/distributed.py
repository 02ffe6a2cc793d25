"""Processes and devices. One process unless `paddle.distributed.launch` started several."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn as nn

from ppcore import runtime
from ppcore.ema import EMA
from ppcore.errors import ConfigError
from ppcore.runtime import interrupts

_PIECE = 2**23  # values that are averaged over processes at a time


Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """This process among its peers.

    Attributes:
        rank: 0 for the process that writes.
        size: number of processes.
        device: `cpu` or `gpu`.
    """

    rank: int
    size: int
    device: str

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Adds float64 values over all processes; exact for counts."""
        if self.size == 1:
            return values
        total = paddle.to_tensor(np.asarray(values, dtype=np.float64))
        dist.all_reduce(total)
        return total.numpy()

    def mean(self, tensor: paddle.Tensor) -> paddle.Tensor:
        """The mean of every process's tensor, without gradient; it stays where it is."""
        if self.size == 1:
            return tensor.detach()
        total = tensor.detach() / self.size
        dist.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = []
        dist.all_gather_object(found, value)
        return found

    def check_alike(self, value: Any, what: str) -> None:
        """Raises ConfigError, in every process, when a value is not the same in all; `what` says what it is."""
        values = self.gather(value)
        if any(other != values[0] for other in values):
            raise ConfigError(f"{what} differs between the processes: {', '.join(map(str, values))}")

    def barrier(self) -> None:
        """Waits for all processes."""
        self.sum(np.zeros(1))

    def share(self, tensors: Iterable[paddle.Tensor]) -> None:
        """Gives every process the main one's tensors."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, src=0)

    def share_buffers(self, networks: nn.Layer, ema: EMA | None) -> None:
        """Gives every process the main one's buffers, such as a batch norm's running statistics, and their averages.

        Shared gradients keep the parameters equal; but what a forward pass tracks follows each process's own images.
        """
        # Paddle's batch norm keeps its statistics as parameters without a gradient.
        untrained = {name: t for name, t in networks.state_dict(use_hook=False).items() if t.stop_gradient}
        self.share(untrained.values())
        if ema is not None:
            self.share(ema.shadow[name] for name in untrained if name in ema.shadow)

    @paddle.no_grad()
    def average_gradients(self, parameters: Iterable[paddle.Tensor]) -> None:
        """Replaces every gradient by its mean over the processes, in pieces of some megabytes.

        Not Paddle's DataParallel, which follows one network called once a step: a task may call several, several times.
        """
        if self.size == 1:
            return
        piece, size = [], 0
        for gradient in [p.grad for p in parameters if p.grad is not None]:
            piece.append(gradient)
            size += gradient.size
            if size >= _PIECE:
                self._average(piece)
                piece, size = [], 0
        if piece:
            self._average(piece)

    def _average(self, gradients: list[paddle.Tensor]) -> None:
        for kind in {gradient.dtype for gradient in gradients}:
            alike = [gradient for gradient in gradients if gradient.dtype == kind]
            flat = paddle.concat([gradient.flatten() for gradient in alike]) / self.size
            dist.all_reduce(flat)
            for gradient, part in zip(alike, flat.split([g.size for g in alike]), strict=True):
                paddle.assign(part.reshape(gradient.shape), output=gradient)


def start(device: str, *, tf32: bool = False) -> World:
    """Chooses the device and joins the process group.

    Args:
        device: `auto`, `cpu` or `gpu`.
        tf32: whether float32 products on a GPU may use TF32.

    Raises:
        ConfigError: `gpu` is asked for and this Paddle or this machine has none.
    """
    interrupts.raise_again()
    runtime.allow_tf32(tf32)  # before anything computes
    usable = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if device == "gpu" and not usable:
        reason = "no GPU is visible" if paddle.device.is_compiled_with_cuda() else "this Paddle is a CPU build"
        raise ConfigError(f"Global.device is gpu but {reason}: set it to cpu, or install the gpu extra")
    kind = "gpu" if device != "cpu" and usable else "cpu"
    size = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    # Under the launcher each process sees its own cards; FLAGS_selected_gpus names this one's.
    card = os.environ.get("FLAGS_selected_gpus", "0").split(",")[0]  # noqa: SIM112, Paddle spells it so
    paddle.set_device(f"gpu:{card}" if kind == "gpu" else "cpu")
    if size > 1:
        dist.init_parallel_env()
        return World(dist.get_rank(), dist.get_world_size(), kind)
    return World(0, 1, kind)


def in_turn(world: World, make: Callable[[], Made]) -> Made:
    """What the main process makes first, and then the others: a file is written by one, and found by the rest."""
    made = make() if world.is_main else None
    world.barrier()
    return made if world.is_main else make()

"""Training batches as tensors on the device, made ahead by a thread.

The loop's own thread takes what is ready. On a GPU the thread beside it puts the workers' bytes into pinned memory; the
loop starts the copy to the device, which it does not wait for, and normalising, erasing and mixing there. On a CPU, where
numpy is ten times as fast at that as Paddle's operators, the thread does it.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
import paddle

from ppcore.data import TrainLoader
from ppcore.data.prefetch import Prefetcher
from ppcore.data.unfinished import Unfinished
from ppcore.engine import finishing

Batch = dict[str, paddle.Tensor]


class _Piece(NamedTuple):
    """What the thread hands over: tensors where the host can write them."""

    arrays: Batch
    erasures: list[tuple[paddle.Tensor, paddle.Tensor]]
    left: Unfinished | None
    skipped: int


class Feed(Iterator):
    """A loader's batches, each a dict of tensors, with the numbers that the loader itself gives.

    Args:
        loader: not yet iterated.
        device: `cpu` or `gpu`.
        finish: where images are normalised, erased and mixed: on the `host` in numpy, or on the `device`; None: on a GPU,
            if the loader's transforms are ones that it can do.

    Attributes:
        skipped: images left out up to the last batch that was given.
    """

    def __init__(self, loader: TrainLoader, device: str, finish: Literal["host", "device"] | None = None):
        if finish is None:
            finish = "device" if device == "gpu" and loader.finishable else "host"
        self.on_device = finish == "device"
        self.skipped = loader.skipped
        source = _pieces(loader, device, self.on_device)
        self._made = Prefetcher(source, loader.stopping)
        self._copies = _Copies() if device == "gpu" else None

    @paddle.no_grad()
    def __next__(self) -> Batch:
        piece = next(self._made)
        self.skipped = piece.skipped
        arrays, erasures = piece.arrays, piece.erasures
        if self._copies is not None:
            arrays, erasures = self._copies.moved(arrays, erasures)
        return arrays if piece.left is None else _finished(arrays, erasures, piece.left)

    def close(self) -> None:
        """Ends the thread and the loader's workers; may be called twice."""
        self._made.close()


def _pieces(loader: TrainLoader, device: str, on_device: bool) -> Generator[_Piece]:
    """The prefetching thread's work."""
    gpu = device == "gpu"
    place = paddle.CUDAPinnedPlace() if gpu else paddle.CPUPlace()
    card, thread = paddle.get_device(), threading.get_ident()

    def staged(array: np.ndarray) -> paddle.Tensor:
        return paddle.to_tensor(array, place=place)

    with closing(loader.unfinished() if on_device else iter(loader)) as batches:
        for batch in batches:
            if gpu and thread != threading.get_ident():  # a new thread would make itself at home on the first card
                paddle.set_device(card)
                thread = threading.get_ident()
            left = batch if isinstance(batch, Unfinished) else None
            arrays = {name: staged(array) for name, array in (left.arrays if left else batch).items()}
            erasures = [(staged(places), staged(values)) for places, values in (left.erasures if left else ())]
            yield _Piece(arrays, erasures, left, loader.skipped)


def _finished(arrays: Batch, erasures: finishing.Pieces, left: Unfinished) -> Batch:
    images = finishing.erased(finishing.normalized(arrays["image"], left.normalize), erasures)
    batch = {**arrays, "image": finishing.mixed(images, left.mix)}
    if left.mixup is not None:
        lam = left.mix.lam if left.mix is not None else 1.0
        smoothing = left.mixup.label_smoothing
        batch["target"] = finishing.targets(arrays["label"], left.mixup.num_classes, lam, smoothing)
    return batch


class _Copies:
    """Copies from pinned memory to the device that nobody waits for.

    Paddle may give pinned memory to the next batch as soon as its tensor is gone, so each is kept until its copy is done.
    """

    def __init__(self) -> None:
        self._under_way: deque[tuple[Any, Any]] = deque()

    def moved(self, arrays: Batch, erasures: finishing.Pieces) -> tuple[Batch, finishing.Pieces]:
        """The tensors on the device."""
        while self._under_way and self._under_way[0][0].query():
            self._under_way.popleft()
        on_device = {name: tensor.cuda(blocking=False) for name, tensor in arrays.items()}
        pieces = [(places.cuda(blocking=False), values.cuda(blocking=False)) for places, values in erasures]
        done = paddle.device.cuda.Event()
        done.record()
        self._under_way.append((done, (arrays, erasures)))
        return on_device, pieces

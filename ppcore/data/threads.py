"""Running a SampleReader in threads of this process: decoding and resizing release Python's lock."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from ppcore.data.reader import SampleReader, collate
from ppcore.data.samplers import BatchSampler

_AHEAD = 2  # batches that are being made while one is used


def threaded_batches(reader: SampleReader, stream: BatchSampler, threads: int) -> Iterator[dict[str, np.ndarray]]:
    """Collated batches in the stream's order; see `reader.collate`.

    Args:
        reader: makes the samples; with more than one thread its dataset and transforms must bear being called at once.
        stream: the keys.
        threads: at least 1. They end with the iterator.
    """
    keys, pending = iter(stream), deque[list[Future[Any]]]()
    pool, own = ThreadPoolExecutor(threads, "reader"), cv2.getNumThreads()
    cv2.setNumThreads(0)  # OpenCV's own would compete with these

    def ask() -> None:
        if (batch := next(keys, None)) is not None:
            pending.append([pool.submit(reader.__getitem__, key) for key in batch])

    try:
        for _ in range(_AHEAD):
            ask()
        while pending:
            ask()
            yield collate([sample.result() for sample in pending.popleft()])
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(own)

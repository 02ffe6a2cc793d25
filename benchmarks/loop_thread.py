"""What a training batch costs between the workers and the network: the loop's own thread, and the one beside it.

Images are in memory, so that nothing waits for a decoder. On a machine without a GPU `device` runs the same operators on
the CPU, in the loop's thread; what the loop itself does is then measured on images of 8 pixels, where they cost nothing.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppcore import runtime
from ppcore.config import components
from ppcore.data import ArrayImages, TrainBatchSampler, TrainLoader

SMALL = 8


def loop_thread(
    transforms: Sequence[Mapping],
    batch_transforms: Sequence[Mapping],
    *,
    batch: int,
    size: int,
    num_classes: int,
    steps: int = 10,
) -> dict[str, Any]:
    """Times batches as the training loop gets them.

    Args:
        transforms: components: Normalize and what follows it.
        batch_transforms: components, which are given `num_classes`.
        batch: images.
        size: of the images, pixels.
        num_classes: of the labels.
        steps: batches that count, after two that warm up.

    Returns:
        `machine` facts, and `rows`: where (`loop`: all in the loop's thread; `host` and `device`: see
        `ppcore.engine.feed.Feed`), processor milliseconds a batch of the loop's thread (`loop`) and of the one beside it
        (`beside`), `images_per_second`, the most that either lets through, and of `device`, where there is no GPU,
        the milliseconds of its operators on the CPU (`operators`).
    """
    times = {}
    for where, pixels in (("loop", size), ("host", size), ("device", size), ("device", SMALL)):
        made = [components.build(node) for node in transforms]
        mixing = [components.build(node, num_classes=num_classes) for node in batch_transforms]
        images = np.random.default_rng(0).integers(0, 256, (batch, pixels, pixels, 3), dtype=np.uint8)
        dataset = ArrayImages(images, np.arange(batch) % num_classes, None, num_classes)
        stream = TrainBatchSampler(batch, batch, 0, 0, steps + 4)
        times[where, pixels] = _times(TrainLoader(dataset, made, mixing, 0, stream, 1), where, steps)
    rows = []
    for where in ("loop", "host", "device"):
        (loop, beside), operators = times[where, size], 0.0
        if where == "device" and not _has_gpu():
            operators, loop = loop, times[where, SMALL][0]
        milliseconds = {"loop": 1e3 * loop, "beside": 1e3 * beside, "operators": 1e3 * operators}
        rows.append({"where": where, **milliseconds, "images_per_second": batch / max(loop, beside)})
    machine = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores()}
    return {"what": "loop_thread", "batch": batch, "size": size, "steps": steps, "machine": machine, "rows": rows}


def _has_gpu() -> bool:
    import paddle

    return paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


def _times(loader: TrainLoader, where: str, steps: int) -> tuple[float, float]:
    """Processor seconds a batch: of this thread (the median), of the one beside it (the mean)."""
    from ppcore.engine.build import tensors
    from ppcore.engine.feed import Feed

    if where == "loop":
        batches = (tensors(batch) for batch in iter(loader))
    else:
        batches = Feed(loader, "gpu" if _has_gpu() else "cpu", where)
    spent, others = [], []
    for number in range(steps + 2):
        before = _others()
        began = time.thread_time()
        next(batches)
        own = time.thread_time() - began
        time.sleep(0.3)  # the step, in which the thread works ahead
        if number >= 2:
            spent.append(own)
            others.append(_others() - before)
    batches.close()
    return float(np.median(spent)), float(np.mean(others)) if where != "loop" else 0.0


def _others() -> float:
    """Processor seconds of this process outside this thread."""
    times = os.times()
    return times.user + times.system - time.thread_time()


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Normalize, RandomErasing, Mixup on {result['batch']} images of {result['size']} px, {result['machine']}",
        "",
        "| where | loop's thread, ms a batch | thread beside it, ms | at most, images/s a process | operators on the CPU, ms |",
        "|---|---|---|---|---|",
        *(
            f"| {row['where']} | {row['loop']:.1f} | {row['beside']:.1f} | {row['images_per_second']:,.0f} "
            f"| {row['operators']:.0f} |"
            for row in result["rows"]
        ),
    ]
    return "\n".join(lines)

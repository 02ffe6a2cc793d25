"""What a teacher adds to a training step, beside its own forward pass."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppcore import runtime
from ppcore.config import components

PARTS = ("step without teacher", "teacher's forward pass", "distilled step")


def distill(
    student: Mapping, teacher: Mapping, plain: Mapping, distilled: Mapping, *, batch: int, steps: int
) -> dict[str, Any]:
    """Times the three of PARTS in turns, in this process, on random images (two turns warm up).

    Args:
        student: component of the network in training.
        teacher: component of the teacher's network; its random weights go through a file, as a user's do.
        plain: component of a criterion on both outputs without a teacher.
        distilled: component of the criterion with the teacher, whose `teacher` lacks `arch` and `weights`.
        batch: images a step.
        steps: turns that count.

    Returns:
        `rows` (part, milliseconds: median, lowest, highest), and `overhead`: what the distilled step takes
        beyond the plain one, over the teacher's own forward pass (median over turns).
    """
    import paddle

    from ppcore import weights

    paddle.seed(0)
    network = components.build(student)
    network.train()
    size = network.patch_embed.img_size
    rng = np.random.default_rng(0)
    images = paddle.to_tensor(rng.standard_normal((batch, 3, *size)).astype(np.float32))
    data = {"image": images, "label": paddle.to_tensor(rng.integers(0, network.num_classes, batch))}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "teacher.safetensors")
        weights.save(components.build(teacher), path)
        own = {**distilled["teacher"], "arch": dict(teacher), "weights": path}
        criterion = components.build({**distilled, "teacher": own})
    without = components.build(plain)
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=network.parameters())

    def step(loss: Callable) -> None:
        loss(network(images), data).backward()
        optimizer.step()
        optimizer.clear_grad()
        network.head.weight.numpy()  # waits for the device

    work = dict(
        zip(
            PARTS,
            (lambda: step(without), lambda: criterion.teacher(images).numpy(), lambda: step(criterion)),
            strict=True,
        )
    )
    seconds = _in_turns(work, steps)
    without_it, alone, with_it = (np.array(seconds[part]) for part in PARTS)
    rows = [
        {"part": part, "milliseconds": 1e3 * float(np.median(s)), "lowest": 1e3 * min(s), "highest": 1e3 * max(s)}
        for part, s in seconds.items()
    ]
    threads = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores()}
    return {
        "what": "distill", "student": student["name"], "teacher": teacher["name"], "batch": batch, "size": list(size),
        "steps": steps, "machine": threads, "rows": rows, "overhead": float(np.median((with_it - without_it) / alone)),
    }  # fmt: skip


def _in_turns(work: Mapping[str, Callable[[], Any]], steps: int) -> dict[str, list[float]]:
    """Seconds of each part, in `steps` turns after two that warm up."""
    seconds: dict[str, list[float]] = {part: [] for part in work}
    for turn in range(steps + 2):
        for part, run in work.items():
            begin = time.perf_counter()
            run()
            if turn >= 2:
                seconds[part].append(time.perf_counter() - begin)
    return seconds


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = [
        f"{result['student']} taught by {result['teacher']}, batch {result['batch']}, {result['size'][0]} px, "
        f"{result['steps']} turns, {result['machine']}",
        "",
        "| part | ms (median) | turns |",
        "|---|---|---|",
        *(
            f"| {row['part']} | {row['milliseconds']:.0f} | {row['lowest']:.0f}–{row['highest']:.0f} |"
            for row in result["rows"]
        ),
        "",
        f"(distilled - without) / teacher's forward: {result['overhead']:.2f}",
    ]
    return "\n".join(lines)

"""Peak memory of training steps, with gradient checkpointing and without, each in its own process."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.fresh_process import answer, measured, peak_memory
from ppcore import runtime

MODES = {"plain": False, "recompute": True}


def memory(
    networks: Sequence[Mapping[str, Any]], *, size: int = 224, steps: int = 3, rounds: int = 1, threads: int = 1
) -> dict[str, Any]:
    """Trains every network with `Global.recompute` and without, in turns.

    Args:
        networks: `arch` (a builder's name) and `batch` (images a step) of each.
        size: of the images, pixels.
        steps: steps that are timed, after one that warms up.
        rounds: processes for each network and mode.
        threads: of OpenMP.

    Returns:
        `machine` facts, and `rows`: arch, batch, mode, `peak_bytes` (largest resident set of the process, the median of
        rounds), `start_bytes` (when the model and the batch are there), `state_bytes` (weights, gradients and AdamW's
        moments in float32), `seconds` a step (median; of rounds the lowest and highest), `loss` after the last.
    """
    jobs = [(network, mode) for network in networks for mode in MODES]
    found: list[list[dict[str, Any]]] = [[] for _ in jobs]
    for _ in range(rounds):
        for (network, mode), results in zip(jobs, found, strict=True):
            job = {**network, "size": size, "steps": steps, "recompute": MODES[mode]}
            results.append(measured("benchmarks.memory", job, contender=network["arch"], threads=threads))
    rows = []
    for (network, mode), results in zip(jobs, found, strict=True):
        seconds = [result["seconds"] for result in results]
        middle = {
            key: statistics.median_low(result[key] for result in results)
            for key in ("peak_bytes", "start_bytes", "state_bytes", "loss")
        }
        spread = {"seconds": statistics.median(seconds), "lowest": min(seconds), "highest": max(seconds)}
        rows.append({**network, "mode": mode, **middle, **spread})
    machine = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores(), "threads": threads}
    return {"what": "memory", "size": size, "steps": steps, "rounds": rounds, "machine": machine, "rows": rows}


def measure(arch: str, batch: int, size: int, steps: int, recompute: bool) -> dict[str, Any]:
    """Trains in this process by AdamW on random images: see `memory`."""
    import numpy as np
    import paddle

    from ppcore.config import components
    from ppcore.engine.recompute import recompute_blocks
    from ppcore.losses import CrossEntropy

    paddle.seed(0)
    network = components.build({"name": arch, "img_size": size})
    network.train()
    if recompute:
        recompute_blocks(network)
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=network.parameters())
    rng = np.random.default_rng(0)
    images = paddle.to_tensor(rng.standard_normal((batch, 3, size, size)).astype(np.float32))
    labels, criterion = paddle.to_tensor(rng.integers(0, network.num_classes, batch)), CrossEntropy()
    start, seconds, loss = peak_memory(), [], math.nan
    for _ in range(steps + 1):
        began = time.perf_counter()
        value = criterion(network(images), {"label": labels})
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
        loss = float(value)
        seconds.append(time.perf_counter() - began)
    parameters = sum(math.prod(p.shape) for p in network.parameters())
    return {
        "peak_bytes": peak_memory(), "start_bytes": start, "state_bytes": 16 * parameters, "loss": loss,
        "seconds": statistics.median(seconds[1:]),
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"float32 training steps, {result['size']} px, {result['steps']} steps x {result['rounds']}, {result['machine']}",
        "",
        "| network | batch | recompute | peak memory, GB | beyond weights, gradients, moments | s/step | processes |",
        "|---|---|---|---|---|---|---|",
    ]
    plain: dict[tuple, dict] = {}
    for row in result["rows"]:
        first = plain.setdefault((row["arch"], row["batch"]), row)
        ratio = "" if first is row else f" ({row['peak_bytes'] / first['peak_bytes']:.2f}×)"
        slower = "" if first is row else f" ({row['seconds'] / first['seconds']:.2f}×)"
        lines.append(
            f"| {row['arch']} | {row['batch']} | {'yes' if row['mode'] == 'recompute' else 'no'} "
            f"| {row['peak_bytes'] / 1e9:.2f}{ratio} | {(row['peak_bytes'] - row['state_bytes']) / 1e9:.2f} "
            f"| {row['seconds']:.2f}{slower} | {row['lowest']:.2f}–{row['highest']:.2f} |"
        )
    return "\n".join(lines)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    runtime.configure()  # (OMP_NUM_THREADS is set)
    return measure(**job)


if __name__ == "__main__":
    answer(_job)

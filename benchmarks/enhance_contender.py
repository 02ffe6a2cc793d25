"""One contender at one size, alone in its process: `python -m benchmarks.enhance_contender JSON`.

Imports what the contender needs and nothing else, because the memory of the whole process is what is compared.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.fresh_process import answer, peak_memory

Run = Callable[[np.ndarray], np.ndarray]


def torch_peer(job: dict[str, Any]) -> Run:
    """A file with `Net(arrays)`, called with a tensor; the image is its first result. bf16 is torch's autocast."""
    import torch

    torch.set_num_threads(job["threads"])
    spec = importlib.util.spec_from_file_location("peer", job["peer"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with np.load(job["weights"]) as arrays:
        net = module.Net(dict(arrays))

    @torch.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16, enabled=job["precision"] == "bf16"):
            return net(torch.from_numpy(x))[0].float().numpy()

    return run


def eager(job: dict[str, Any]) -> Run:
    """The model itself on Paddle."""
    from ppcore import runtime

    runtime.configure(job["threads"])
    import paddle

    from ppcore import weights
    from ppcore.config import components

    model = components.build({"name": job["arch"]})
    weights.load(model, job["state"])
    model.eval()

    @paddle.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        return model(paddle.to_tensor(x)).numpy()

    return run


def predictor(job: dict[str, Any]) -> Run:
    """`ppcore.deploy.Predictor` with an engine and a precision."""
    from ppcore.deploy import Predictor

    return Predictor(job["folder"], job["engine"], job["precision"], threads=job["threads"])


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the first run and of those after it, peak memory in bytes, and some values of the result."""
    begin = time.perf_counter()
    run = {"torch": torch_peer, "eager": eager}.get(job["engine"], predictor)(job)
    # Filled in place: temporaries would count as the contender's memory.
    x = np.empty((1, 3, job["height"], job["width"]), np.float32)
    rng = np.random.default_rng(0)
    for row in range(job["height"]):
        x[:, :, row] = rng.random((1, 3, job["width"])) * 0.3
    y = run(x)
    first = time.perf_counter() - begin
    seconds = []
    for _ in range(job["runs"]):
        y = None  # the result before is not wanted any more
        begin = time.perf_counter()
        y = run(x)
        seconds.append(time.perf_counter() - begin)
    sample = y[0, :, :: max(job["height"] // 64, 1), :: max(job["width"] // 64, 1)].astype(np.float64)
    return {"first": first, "seconds": seconds, "peak": peak_memory(), "sample": sample.ravel().tolist()}


if __name__ == "__main__":
    answer(measure)

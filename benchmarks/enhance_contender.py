"""One contender at one size, alone in its process: `python -m benchmarks.enhance_contender JSON`.

Imports what the contender needs and nothing else, because the memory of the whole process is what is compared.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
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

    model = components.build(job["arch"])
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


def opencv(job: dict[str, Any]) -> Run:
    """OpenCV's own engine on the export's one ONNX file, its sizes fixed and what follows from them folded, which it needs."""
    import cv2

    from ppcore.deploy import manifest
    from ppcore.errors import ConfigError

    stages = manifest.read(Path(job["folder"])).stages
    if len(stages) > 1:
        raise ConfigError("OpenCV takes one graph, and this network is exported in several")
    cv2.setNumThreads(job["threads"])
    with tempfile.TemporaryDirectory() as folder:
        net = cv2.dnn.readNetFromONNX(
            _of_one_size(f"{job['folder']}/{stages[0].name}.onnx", job["input"], Path(folder))
        )

    def run(x: np.ndarray) -> np.ndarray:
        net.setInput(x)
        return net.forward()

    return run


def _of_one_size(graph: str, shape: list[int], folder: Path) -> str:
    """The file of a graph for one input shape, folded by onnxruntime."""
    import onnx
    import onnxruntime

    model = onnx.load(graph)
    for side, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        side.dim_value = size
    onnx.save(model, folder / "fixed.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(folder / "fixed.onnx"), options, providers=["CPUExecutionProvider"])
    return options.optimized_model_filepath


def photograph(job: dict[str, Any]) -> Run:
    """`Predictor.enhance` on 8-bit colours: with Y, the bicubic parts and the rounding."""
    from ppcore.deploy import Predictor

    predictor = Predictor(job["folder"], threads=job["threads"])
    return lambda pixels: predictor.enhance(pixels, scale=job["scale"])


def inputs(job: dict[str, Any]) -> np.ndarray:
    """Dark noise in [0, 1], of the network's form or, for `photograph`, in 8-bit colours."""
    rng = np.random.default_rng(0)
    if job["engine"] == "photograph":
        return rng.integers(0, 77, (job["height"], job["width"], 3)).astype(np.uint8)
    # Filled in place: temporaries would count as the contender's memory.
    x = np.empty(job["input"], np.float32)
    for row in range(x.shape[2]):
        x[:, :, row] = rng.random((1, x.shape[1], x.shape[3])) * 0.3
    return x


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the first run and of those after it, peak memory in bytes, and some values of the result."""
    begin = time.perf_counter()
    makers = {"torch": torch_peer, "eager": eager, "opencv": opencv, "photograph": photograph}
    run = makers.get(job["engine"], predictor)(job)
    x = inputs(job)
    y = run(x)
    first = time.perf_counter() - begin
    seconds = []
    for _ in range(job["runs"]):
        y = None  # the result before is not wanted any more
        begin = time.perf_counter()
        y = run(x)
        seconds.append(time.perf_counter() - begin)
    found = {"first": first, "seconds": seconds, "peak": peak_memory()}
    if job["engine"] == "photograph":
        return found  # of other pixels
    rows, columns = (max(side // 64, 1) for side in y.shape[2:])
    return {**found, "sample": y[0, :, ::rows, ::columns].astype(np.float64).ravel().tolist()}


if __name__ == "__main__":
    answer(measure)

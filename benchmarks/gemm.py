"""The machine's rate of matrix products, fp32 and bf16: what nothing here can be faster than.

Measured in the run whose figures are given as a share of it, by every library there is; the fastest is the limit.
`python -m benchmarks.gemm JOB` answers requests `{precision}` (`benchmarks.living_process`).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.living_process import LivingProcess, serve

SIZE = 2048
PRECISIONS = ("fp32", "bf16")
Product = Callable[[], Any]


def torch_product(precision: str, size: int, threads: int) -> Product:
    """torch (MKL, oneDNN)."""
    import torch

    torch.set_num_threads(threads)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.rand(size, size, dtype=torch.float32).to(kind) for _ in range(2))
    out = torch.empty(size, size, dtype=kind)
    return lambda: torch.mm(a, b, out=out)


def openvino_product(precision: str, size: int, threads: int) -> Product:
    """A product with a constant matrix in OpenVINO (oneDNN), as in a linear layer."""
    import openvino as ov
    from openvino import opset13 as ops

    core = ov.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("no bfloat16 instructions")
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), np.float32) for _ in range(2))
    x = ops.parameter([size, size], np.float32)
    model = ov.Model([ops.matmul(x, ops.constant(b), False, False)], [x])
    options = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision], "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": 1}).create_infer_request()
    request.set_input_tensor(ov.Tensor(a, shared_memory=True))
    held = a  # the request reads it without holding it
    return lambda: (request.infer(), held)


LIBRARIES = {"torch": torch_product, "openvino": openvino_product}


def rate(product: Product, size: int, seconds: float) -> float:
    """GFLOP/s of the fastest of the calls that fit into `seconds`, three at least, after one that warms up."""
    product()
    best, end, calls = np.inf, time.perf_counter() + seconds, 0
    while calls < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        product()
        best, calls = min(best, time.perf_counter() - begin), calls + 1
    return 2 * size**3 / best / 1e9


def prepare(job: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Of `library`, `size` and `threads`: a function from `precision` and `seconds` to `rate`, GFLOP/s."""
    products: dict[str, Product] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        precision = request["precision"]
        if precision not in products:
            products[precision] = LIBRARIES[job["library"]](precision, job["size"], job["threads"])
        return {"rate": rate(products[precision], job["size"], request["seconds"])}

    return answer


class Machine:
    """The machine's GEMM rates, measured whenever asked.

    Args:
        threads: of the products.
        size: of the square matrices.
        seconds: for each product.

    Attributes:
        rates: by precision and library, GFLOP/s of every measurement.
    """

    def __init__(self, threads: int, size: int = SIZE, seconds: float = 0.25):
        self.seconds = seconds
        self.rates: dict[str, dict[str, list[float]]] = {precision: {} for precision in PRECISIONS}
        self._processes = {
            (precision, library): LivingProcess(
                "benchmarks.gemm", {"library": library, "size": size, "threads": threads}, threads=threads
            )
            for library in LIBRARIES
            for precision in PRECISIONS
        }

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.close()

    def measure(self) -> None:
        """One measurement more of each."""
        for (precision, library), process in self._processes.items():
            if found := process.ask(precision=precision, seconds=self.seconds):
                self.rates[precision].setdefault(library, []).append(found["rate"])

    def limit(self, precision: str) -> float | None:
        """GFLOP/s: the median of the fastest library; int8 is held against bf16. None where nothing could be measured."""
        found = self.rates["fp32" if precision == "fp32" else "bf16"]
        return max((float(np.median(rates)) for rates in found.values()), default=None)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Of each precision: `gflops` (the limit), `library`, and `lowest` and `highest` measurement of that library."""
        found = {}
        for precision, libraries in self.rates.items():
            if libraries:
                library = max(libraries, key=lambda name: np.median(libraries[name]))
                rates = libraries[library]
                found[precision] = {
                    "gflops": float(np.median(rates)), "library": library, "lowest": min(rates), "highest": max(rates),
                    "medians": {name: float(np.median(each)) for name, each in libraries.items()},
                }  # fmt: skip
        return found


if __name__ == "__main__":
    serve(prepare)

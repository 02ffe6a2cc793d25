"""OpenVINO: the fastest of the engines on the CPUs measured."""

import ctypes
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import openvino as ov

from ppcore.deploy.manifest import Manifest, onnx_file
from ppcore.deploy.runtimes import Runtime
from ppcore.deploy.runtimes.openvino_maths import use_polynomials
from ppcore.deploy.runtimes.openvino_precision import keep_float32
from ppcore.errors import ConfigError, WeightsError, reason

CONVOLUTIONS = ("Convolution", "GroupConvolution")
COMPILED = 12  # stages of one size kept ready
LARGE = 2**23  # bytes of input from which the memory of a stage is given back between stages


class OpenVINO(Runtime):
    """OpenVINO on a CPU.

    Every size of input is compiled for itself (some seconds, once): with known sizes OpenVINO
    computes the tables ahead, chooses layouts and plans its memory. The last few are kept. bf16 is bfloat16
    where the manifest allows it.
    """

    suffixes = (".onnx",)

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None):
        self.core = ov.Core()
        has_bf16 = "BF16" in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise ConfigError("precision bf16: this processor has no bfloat16 instructions; use fp32")
        # What is not int8 of an int8 form is computed in bfloat16 where the processor has it.
        short = precision == "bf16" or (precision == "int8" and has_bf16)
        self.options = {"INFERENCE_PRECISION_HINT": "bf16" if short else "f32", "NUM_STREAMS": 1}
        if threads:
            self.options["INFERENCE_NUM_THREADS"] = threads
        self.bf16 = manifest.bf16 if precision == "bf16" else None
        self.folder, self.precision, self.staged = folder, precision, len(manifest.stages) > 1
        self.compiled: OrderedDict[tuple, ov.CompiledModel] = OrderedDict()
        if self.staged:
            _map_large_blocks()

    @staticmethod
    def version() -> str:
        return f"OpenVINO {ov.__version__.partition('-')[0]}"

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        shapes = tuple((name, array.shape) for name, array in inputs.items())
        request = self._request(stage, shapes)
        # A request reads shared memory without holding it, so copies must live until it has run. It takes aligned,
        # writeable arrays only.
        held = {name: np.require(array, requirements=["C", "A", "W"]) for name, array in inputs.items()}
        for name, array in held.items():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        outputs = [np.empty(list(output.shape), np.float32) for output in request.model_outputs]
        for number, array in enumerate(outputs):
            request.set_output_tensor(number, ov.Tensor(array, shared_memory=True))
        request.infer()
        if self.staged and sum(array.nbytes for array in inputs.values()) > LARGE:
            request.get_compiled_model().release_memory()  # the next stage takes its place
        return outputs

    def _request(self, stage: str, shapes: tuple) -> ov.InferRequest:
        key = (stage, shapes)
        if key not in self.compiled:
            path = self.folder / onnx_file(stage, self.precision)
            try:
                model = self.core.read_model(path)
                model.reshape({name: list(shape) for name, shape in shapes})
                use_polynomials(model)
                if self.bf16 is not None:
                    model = keep_float32(self.core, model, CONVOLUTIONS if stage in self.bf16 else ())
            except RuntimeError as error:
                raise WeightsError(f"{path}: OpenVINO does not take it: {reason(error)}") from error
            compiled = self.core.compile_model(model, "CPU", self.options)
            del model
            _return_free_memory()
            self.compiled[key] = compiled.create_infer_request()
            while len(self.compiled) > COMPILED:
                self.compiled.popitem(last=False)
        self.compiled.move_to_end(key)
        return self.compiled[key]


def _return_free_memory() -> None:
    """Gives what reading and compiling left in glibc's heap (100 MB here) back to the system; elsewhere nothing."""
    _glibc("malloc_trim", 0)


def _map_large_blocks() -> None:
    """Has glibc map blocks of a MiB and more one by one: freed, their memory goes back at once (50 MB at 4K)."""
    for parameter in (-3, -1):  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of <malloc.h>
        _glibc("mallopt", parameter, 2**20)


def _glibc(function: str, *arguments: int) -> None:
    """Calls a function of glibc, where that is the C library."""
    call = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if call is not None:
        call(*arguments)

"""OpenVINO: the fastest of the engines on the CPUs measured."""

import ctypes
import math
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import openvino as ov

from ppcore.deploy.engine_choice import OWN_SIZE_FROM
from ppcore.deploy.manifest import Manifest
from ppcore.deploy.runtimes import Runtime
from ppcore.deploy.runtimes.openvino_compiled import Compiled, Compiler
from ppcore.errors import ConfigError

KEPT = 12  # stages compiled for one size each
LARGE = 2**23  # bytes of input from which the memory of a stage is given back between stages


class OpenVINO(Runtime):
    """OpenVINO on a CPU.

    Stages of a network of images are compiled once for all sizes, which is kept on disk (`compiled_cache`), and for each size of
    a large image. What takes tiles, or no images of any size, is compiled for every shape it meets. The last few are kept ready.
    bf16 is bfloat16 where the manifest allows it.
    """

    suffixes = (".onnx",)

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None):
        core = ov.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise ConfigError("precision bf16: this processor has no bfloat16 instructions; use fp32")
        # What is not int8 of an int8 form is computed in bfloat16 where the processor has it.
        short = precision == "bf16" or (precision == "int8" and has_bf16)
        options = {"INFERENCE_PRECISION_HINT": "bf16" if short else "f32", "NUM_STREAMS": 1}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self.compiler = Compiler(core, folder, manifest, options, precision)
        self.staged = len(manifest.stages) > 1
        # Tiles of all images as wide have one shape, for which compiling takes a twentieth of a second.
        tiled = manifest.tiles.stage if manifest.tiles else None
        self.any_size = {stage.name for stage in manifest.stages if manifest.padding and stage.name != tiled}
        self.compiled: OrderedDict[tuple, Compiled] = OrderedDict()
        if self.staged:
            _map_large_blocks()

    @staticmethod
    def version() -> str:
        return f"OpenVINO {ov.__version__.partition('-')[0]}"

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        # A request reads shared memory without holding it, so copies must live until it has run. It takes aligned,
        # writeable arrays only.
        held = {name: np.require(array, requirements=["C", "A", "W"]) for name, array in inputs.items()}
        compiled = self._ready(stage, {name: array.shape for name, array in held.items()})
        outputs = compiled.run(held)
        if self.staged and sum(array.nbytes for array in inputs.values()) > LARGE:
            compiled.release_memory()  # the next stage takes its place
        return outputs

    def _ready(self, stage: str, shapes: dict[str, tuple[int, ...]]) -> Compiled:
        """The stage compiled for these shapes, or for all sizes."""
        own = max(math.prod(shape) for shape in shapes.values()) >= 3 * OWN_SIZE_FROM
        if stage in self.any_size and not own:
            # Maps have four axes, of which the first, the batch, is known.
            shapes = {
                name: (shape[0] if len(shape) == 4 else None, *wanted[1:])
                for (name, shape), wanted in zip(shapes.items(), self.compiler.declared(stage), strict=True)
            }
        key = (stage, *shapes.items())
        if key not in self.compiled:
            self.compiled[key] = self.compiler(stage, shapes, keep=stage in self.any_size)
            _return_free_memory()
            while len(self.compiled) > KEPT:
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

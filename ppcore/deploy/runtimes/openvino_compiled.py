"""Stages compiled by OpenVINO, from their files or from what an earlier start has compiled."""

import hashlib
import io
import logging
import tempfile
from pathlib import Path
from time import monotonic

import numpy as np
import openvino as ov

from ppcore.deploy.manifest import Manifest, onnx_file
from ppcore.deploy.runtimes.compiled_cache import CompiledCache
from ppcore.deploy.runtimes.openvino_maths import use_polynomials
from ppcore.deploy.runtimes.openvino_precision import keep_float32
from ppcore.deploy.runtimes.openvino_tables import Tables, drop_identities, take_out
from ppcore.errors import WeightsError, reason

log = logging.getLogger("ppcore")

Shape = tuple[int | None, ...]


class Compiled:
    """A stage ready to run.

    Args:
        model: compiled.
        tables: what it reads beside its inputs, or None.
    """

    def __init__(self, model: ov.CompiledModel, tables: Tables | None):
        self.model, self.tables = model, tables
        self.request = model.create_infer_request()

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, arrays of their own, of C-contiguous, aligned and writeable arrays."""
        given = inputs if self.tables is None else inputs | self.tables(inputs)
        for name, array in given.items():
            self.request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        # Tensors of their own for every run, which grow to the size they turn out to have.
        outputs = [ov.Tensor(output.element_type, _least(output.partial_shape)) for output in self.model.outputs]
        for output, tensor in zip(self.model.outputs, outputs, strict=True):
            self.request.set_tensor(output, tensor)
        self.request.infer()
        return [tensor.data for tensor in outputs]

    def release_memory(self) -> None:
        """Gives the memory of maps back."""
        self.model.release_memory()


def _least(shape: ov.PartialShape) -> list[int]:
    """A shape to begin with: open sizes are 0."""
    return [0 if size.is_dynamic else size.get_length() for size in shape]


class Compiler:
    """Makes `Compiled` of the stages of an export, once: the next start finds them on disk.

    Args:
        core: OpenVINO's.
        folder, manifest: the export.
        options: for compiling.
        precision: `fp32`, `bf16` or `int8`.
    """

    def __init__(self, core: ov.Core, folder: Path, manifest: Manifest, options: dict, precision: str):
        self.core, self.folder, self.manifest, self.options = core, folder, manifest, options
        self.precision = precision
        # The stages whose convolutions are computed in bfloat16, or None for what OpenVINO chooses.
        self.bf16 = manifest.bf16 if precision == "bf16" else None
        self.stages = {stage.name: stage for stage in manifest.stages}
        self.cache = CompiledCache()

    def declared(self, stage: str) -> list[Shape]:
        """The shapes of the inputs, None for open sizes."""
        return [tuple(shape) for shape in self.stages[stage].inputs.values()]

    def __call__(self, stage: str, shapes: dict[str, Shape], *, keep: bool) -> Compiled:
        """A stage for inputs of these shapes; None is any size. `keep` is whether it is looked for and kept on disk.

        Raises:
            WeightsError: OpenVINO does not take the file.
        """
        if not keep:
            return self._compiled(stage, shapes)
        key = self._key(stage, shapes)
        parts = self.cache.load(key)
        if parts is not None:
            try:
                return self._imported(*parts)
            except (RuntimeError, TypeError) as error:
                log.warning("stage %s: OpenVINO does not take what was compiled before (%s)", stage, reason(error))
                self.cache.drop(key)
        sizes = "all sizes" if any(None in shape for shape in shapes.values()) else str(next(iter(shapes.values())))
        log.info("OpenVINO compiles stage %s for %s, once", stage, sizes)
        started = monotonic()
        made = self._compiled(stage, shapes)
        kept = self.cache.save(key, _parts(made))
        log.info("compiled in %.1f s, kept in %s", monotonic() - started, kept or "memory: no folder can be written")
        return made

    def _compiled(self, stage: str, shapes: dict[str, Shape]) -> Compiled:
        path = self.folder / onnx_file(stage, self.precision)
        try:
            model, tables = self._prepared(path, stage, shapes)
            return Compiled(self.core.compile_model(model, "CPU", self.options), tables)
        except RuntimeError as error:
            raise WeightsError(f"{path}: OpenVINO does not take it: {reason(error)}") from error

    def _prepared(self, path: Path, stage: str, shapes: dict[str, Shape]) -> tuple[ov.Model, Tables | None]:
        opened = any(None in shape for shape in shapes.values())
        model = self.core.read_model(path)
        drop_identities(model)
        model.reshape({name: [-1 if size is None else size for size in shape] for name, shape in shapes.items()})
        tables = take_out(model) if opened else None
        use_polynomials(model)
        if self.bf16 is not None:
            model = keep_float32(self.core, model, stage in self.bf16)
        return model, tables

    def _imported(self, blob: bytes, graph: bytes, constants: bytes) -> Compiled:
        tables = None
        if graph:
            tables = Tables(self.core.read_model(graph, constants))
        return Compiled(self.core.import_model(blob, "CPU", self.options), tables)

    def _key(self, stage: str, shapes: dict[str, Shape]) -> str:
        """A hash of all that decides what is compiled: file, shapes, options, processor, OpenVINO, and this code."""
        about = (
            self.manifest.files[onnx_file(stage, self.precision)]["sha256"], shapes, sorted(self.options.items()), self.bf16,
            self.core.get_property("CPU", "FULL_DEVICE_NAME"),
            sorted(self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")), ov.__version__,
        )  # fmt: skip
        digest = hashlib.sha256(repr(about).encode())
        for path in sorted(Path(__file__).parent.glob("openvino_*.py")):
            digest.update(path.read_bytes())
        return f"{stage}-{digest.hexdigest()[:24]}"


def _parts(made: Compiled) -> list[bytes]:
    """What `Compiler._imported` takes."""
    blob = io.BytesIO()
    made.model.export_model(blob)
    if made.tables is None:
        return [blob.getvalue(), b"", b""]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.xml"
        ov.serialize(made.tables.model, path, path.with_suffix(".bin"))
        return [blob.getvalue(), path.read_bytes(), path.with_suffix(".bin").read_bytes()]

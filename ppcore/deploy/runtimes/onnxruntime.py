"""onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from ppcore.deploy.manifest import Manifest
from ppcore.errors import ConfigError, WeightsError


class OnnxRuntime:
    """Runs the stages of an exported folder.

    Args:
        folder: the export.
        manifest: of the export.
        precision: `fp32`.
        threads: None leaves it to onnxruntime.

    Raises:
        ConfigError: another precision.
    """

    format, suffix = "onnx", (".onnx",)

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None):
        if precision != "fp32":
            raise ConfigError(f"precision {precision}: onnxruntime runs fp32 only on a CPU; use engine openvino")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # it warns of every constant it folds
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning slows the neighbours
        self.sessions = {}
        for stage in [stage.name for stage in manifest.stages]:
            path = folder / f"{stage}.onnx"
            try:
                self.sessions[stage] = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            except RuntimeError as error:
                raise WeightsError(f"{path}: onnxruntime does not take it: {' '.join(str(error).split())}") from error

    @staticmethod
    def version() -> str:
        """Name and version."""
        return f"onnxruntime {ort.__version__}"

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs of a stage."""
        session = self.sessions[stage]
        wanted = {value.name for value in session.get_inputs()}
        return session.run(None, {name: array for name, array in inputs.items() if name in wanted})

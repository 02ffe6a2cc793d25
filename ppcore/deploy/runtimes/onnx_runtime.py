"""onnxruntime, which prepares once for all sizes."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from ppcore.deploy.manifest import Manifest, onnx_file
from ppcore.deploy.runtimes import Runtime
from ppcore.errors import ConfigError, WeightsError, reason


class OnnxRuntime(Runtime):
    """onnxruntime on a CPU: fp32 and int8."""

    suffixes = (".onnx",)

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None):
        if precision == "bf16":
            raise ConfigError("precision bf16: onnxruntime does not have it on a CPU; use engine openvino")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # it warns of every constant it folds
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning slows the neighbours
        self.sessions = {}
        for stage in manifest.stages:
            path = folder / onnx_file(stage.name, precision)
            try:
                self.sessions[stage.name] = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            except RuntimeError as error:
                raise WeightsError(f"{path}: onnxruntime does not take it: {reason(error)}") from error

    @staticmethod
    def version() -> str:
        return f"onnxruntime {ort.__version__}"

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        session = self.sessions[stage]
        return session.run(None, {value.name: inputs[value.name] for value in session.get_inputs()})

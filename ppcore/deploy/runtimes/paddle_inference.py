"""Paddle Inference, which needs no export to ONNX."""

from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from ppcore.deploy.manifest import Manifest
from ppcore.deploy.runtimes import Runtime
from ppcore.deploy.writers import program_of
from ppcore.errors import ConfigError, WeightsError, reason

# oneDNN fusions with faults (3.3.1): the first crashes on convolutions followed by LeakyReLU, the second fuses
# additions with what merely reads their result, which makes wrong numbers.
BROKEN_PASSES = ("conv_activation_onednn_fuse_pass", "elementwise_act_onednn_fuse_pass")


class PaddleInference(Runtime):
    """Paddle Inference on a CPU, with one thread unless told otherwise; bf16 is oneDNN's."""

    suffixes = (".json", ".pdmodel", ".pdiparams")

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None):
        if precision == "bf16" and not manifest.onednn:
            raise ConfigError(
                f"precision bf16: Paddle Inference runs {manifest.arch} in fp32 only; use engine openvino"
            )
        self.predictors = {}
        for stage in [stage.name for stage in manifest.stages]:
            config = inference.Config(str(program_of(folder, stage)), str(folder / f"{stage}.pdiparams"))
            config.disable_gpu()
            config.disable_glog_info()
            if manifest.onednn:
                config.enable_mkldnn()
                for name in BROKEN_PASSES:
                    config.delete_pass(name)
            elif hasattr(config, "disable_mkldnn"):
                config.disable_mkldnn()  # on by default from Paddle 3 on
            if precision == "bf16":
                config.enable_mkldnn_bfloat16()
            config.set_cpu_math_library_num_threads(threads or 1)
            try:
                self.predictors[stage] = inference.create_predictor(config)
            except RuntimeError as error:
                raise WeightsError(
                    f"{program_of(folder, stage)}: Paddle Inference does not take it: {reason(error)}"
                ) from error

    @staticmethod
    def version() -> str:
        return f"Paddle Inference {paddle.__version__}"

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        predictor = self.predictors[stage]
        for name in predictor.get_input_names():
            predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(inputs[name]))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

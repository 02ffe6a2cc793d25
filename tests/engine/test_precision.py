"""What is computed in which precision where, and that it is said."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import paddle
import pytest

from ppcore import config, runtime
from ppcore.config import AMPSection
from ppcore.engine import distributed
from ppcore.engine.evaluate import run as evaluate
from ppcore.engine.precision import Precision
from ppcore.engine.train import train
from ppcore.errors import ConfigError


@pytest.fixture
def card(monkeypatch):
    """Makes Paddle report a GPU of some compute capability."""

    def report(*capability: int) -> None:
        monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda *_: capability)

    return report


@pytest.fixture(autouse=True)
def tf32_as_before(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", os.environ.get("NVIDIA_TF32_OVERRIDE", "0"))


class TestOldCards:
    @pytest.mark.parametrize("level", ["O1", "O2"])
    @pytest.mark.parametrize("capability", [(6, 1), (7, 0), (7, 5)])
    def test_bfloat16_is_refused_in_one_line(self, card, level, capability):
        card(*capability)
        with pytest.raises(ConfigError, match=r"AMP\.dtype=float16, AMP\.level=O0") as caught:
            Precision(AMPSection(level=level), "gpu")
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert "8.0" in message
        assert ".".join(map(str, capability)) in message

    def test_float16_needs_7_0(self, card):
        card(6, 1)
        with pytest.raises(ConfigError, match=r"compute capability 7\.0, and this one has 6\.1: set AMP\.level=O0"):
            Precision(AMPSection(level="O1", dtype="float16"), "gpu")

    @pytest.mark.parametrize("capability", [(8, 0), (8, 6), (9, 0), (10, 0)])
    def test_new_cards_compute_as_configured(self, card, capability):
        card(*capability)
        precision = Precision(AMPSection(level="O1"), "gpu")
        assert precision.enabled
        assert precision.describe() == "bfloat16 autocast"
        assert Precision(AMPSection(level="O2"), "gpu").describe() == "bfloat16 weights and autocast"

    def test_evaluation_falls_back_to_float32_and_says_so(self, card):
        card(7, 5)
        precision = Precision.of_evaluation(AMPSection(level="O1"), "gpu")
        assert not precision.enabled
        assert precision.describe().startswith("float32 (AMP.dtype=bfloat16 needs a GPU of compute capability 8.0")


class TestOnACPU:
    AMP = "AMP={level: O1, dtype: float16}"

    def test_training_is_refused_unless_float32_will_do(self, tiny_config):
        with pytest.raises(ConfigError, match=r"AMP\.level=O0, or AMP\.unavailable=float32"):
            train(config.load(tiny_config, [self.AMP, "Global.device=cpu"]))

    @pytest.mark.parametrize("level", ["O1", "O2"])
    def test_training_in_float32_where_that_is_allowed(self, tiny_config, tmp_path, level):
        short = ["Global.duration={steps: 3}", "Global.device=cpu"]
        train(config.load(tiny_config, [*short, f"Global.output_dir={tmp_path / 'plain'}"]))
        train(config.load(tiny_config, [*short, f"AMP={{level: {level}, unavailable: float32}}"]))
        said = (tmp_path / "run" / "log.txt").read_text()
        assert said.count("computing in float32 instead of AMP.level=" + level) == 1
        plain, own = (
            [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
            for name in ("plain", "run")
        )
        assert "; float32 (AMP needs a GPU" in own[0]["protocol"]
        assert "; float32;" in plain[0]["protocol"]
        losses = [[record["loss"] for record in records if record["kind"] == "train"] for records in (plain, own)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)

    def test_evaluation_export_and_inference_go_on_and_say_so(self, tiny_config, tmp_path, tool):
        train(config.load(tiny_config, ["Global.duration={steps: 2}"]))
        plain = evaluate(config.load(tiny_config))
        done = tool("eval", "-c", tiny_config, "-o", self.AMP, "--json", tmp_path / "eval.json")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("computing in float32 instead of AMP.level=O1") == 1
        result = json.loads((tmp_path / "eval.json").read_text())
        assert result["loss"] == pytest.approx(plain["loss"], rel=1e-5)
        assert "float32 (AMP needs a GPU" in result["protocol"]
        cv2.imwrite(str(tmp_path / "image.png"), np.zeros((8, 8, 3), np.uint8))
        tools = {"infer": f"Infer.input={tmp_path / 'image.png'}", "export_model": "Export.formats=[paddle]"}
        for name, option in tools.items():
            done = tool(name, "-c", tiny_config, "-o", self.AMP, "-o", option)
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("in float32: AMP.level=O1 is for training and evaluation") == 1


class TestTF32:
    def test_the_tools_forbid_it_before_paddle_is_imported(self, root):
        kept = {k: v for k, v in os.environ.items() if k != "NVIDIA_TF32_OVERRIDE"}
        code = "from ppcore import runtime; runtime.configure(); import os; print(os.environ['NVIDIA_TF32_OVERRIDE'])"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**kept, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
        )  # fmt: skip
        assert done.stdout.strip() == "0"

    @pytest.mark.parametrize("allowed", [False, True])
    def test_starting_does_as_the_configuration_says_whatever_was_set(self, tiny_config, monkeypatch, allowed):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0" if allowed else "1")
        switched = {}
        for name in ("cublas", "cudnn"):
            monkeypatch.setattr(
                paddle.base.core, f"set_{name}_switch", lambda on, name=name: switched.update({name: on}), raising=False
            )
        settings = config.load(tiny_config, [f"Global.tf32={str(allowed).lower()}"]).Global
        distributed.start("cpu", tf32=settings.tf32)
        assert runtime.tf32_allowed() == allowed
        assert os.environ.get("NVIDIA_TF32_OVERRIDE") == (None if allowed else "0")
        assert switched == {"cublas": allowed, "cudnn": allowed}

    def test_the_protocol_names_it_on_a_gpu(self, monkeypatch):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        assert Precision(AMPSection(), "gpu").describe() == "float32"
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
        assert Precision(AMPSection(), "gpu").describe() == "float32 with TF32 products"
        assert Precision(AMPSection(), "cpu").describe() == "float32"

    def test_a_run_records_it(self, tiny_config, tmp_path):
        train(config.load(tiny_config, ["Global.duration={steps: 1}", "Global.tf32=true", "Global.device=cpu"]))
        assert json.loads((tmp_path / "run" / "env.json").read_text())["tf32"] is False  # a CPU has none

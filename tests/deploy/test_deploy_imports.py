"""What running an export imports: neither Paddle nor plotting nor configurations, as fresh processes show."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import paddle
import pytest

import ppcore.deploy
from ppcore.deploy import export_model
from ppuhdfour import UHDFour

NEVER = ("matplotlib", "omegaconf", "pydantic", "cv2", "ppcore.config", "ppcore.data", "ppcore.engine", "ppcore.report")
CODE = """
import json, sys
import numpy as np
from ppcore.deploy import Predictor
first = sorted(sys.modules)
y = Predictor(sys.argv[1], sys.argv[2], threads=1)(np.load(sys.argv[3]))
np.save(sys.argv[4], y)
print(json.dumps([first, sorted(sys.modules)]))
"""
ONNX = importlib.util.find_spec("paddle2onnx") is not None


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export, an image, and what the model makes of it."""
    folder = tmp_path_factory.mktemp("exported")
    paddle.seed(0)
    model = UHDFour(scale=4, extract=4, widths=[4, 8, 12], fusion=4, fourier=False, adjust="residual")
    x = np.random.default_rng(0).random((1, 3, 33, 61), np.float32)
    np.save(folder / "x.npy", x)
    export_model(model, folder / "out", ["onnx", "paddle"] if ONNX else ["paddle"])
    with paddle.no_grad():
        return folder, model(paddle.to_tensor(x)).numpy()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "paddle"])
def test_a_predictor(exported, engine):
    if engine != "paddle" and not (ONNX and importlib.util.find_spec(engine)):
        pytest.skip(f"needs {engine} and paddle2onnx")
    folder, expected = exported
    command = [sys.executable, "-c", CODE, folder / "out", engine, folder / "x.npy", folder / f"{engine}.npy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, after = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert "paddle" not in first
    assert not first & set(NEVER)
    if engine != "paddle":
        assert "paddle" not in after
        assert not after & set(NEVER)
    np.testing.assert_allclose(np.load(folder / f"{engine}.npy"), expected, atol=1e-5 * np.abs(expected).max())


def test_the_public_names():
    for name in ppcore.deploy.__all__:
        assert getattr(ppcore.deploy, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'export_modle'"):
        ppcore.deploy.export_modle  # noqa: B018

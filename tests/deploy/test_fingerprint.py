"""What decides whether a cached export is still the network's."""

import functools
import importlib.util
import sys

import numpy as np
import paddle
import pytest

from ppcore.deploy import export_spec
from ppcore.deploy.code import reachable
from ppcore.deploy.fingerprint import fingerprint
from ppuhdfour import UHDFour

TINY = dict(scale=2, extract=4, widths=[4, 4, 4], fusion=4, fourier=False, adjust="residual")


def tiny():
    paddle.seed(0)
    return UHDFour(**TINY)


class TestFingerprint:
    """Decides whether a cached export is still the network's."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """A user's own package: a layer, functions in modules of their own, something it never imports."""
        folder = tmp_path / "my_nets"
        (folder / "deep").mkdir(parents=True)
        files = {
            "__init__.py": "",
            "net.py": "import paddle.nn as nn\nfrom my_nets.middle import twice\n\n\nclass Net(nn.Layer):\n"
            "    def forward(self, x):\n        from my_nets import late\n\n        return late.same(twice(x))\n",
            "middle.py": "from .deep.functions import double\n\n\ndef twice(x):\n    return double(x)\n",
            "deep/__init__.py": "",
            "deep/functions.py": "def double(x):\n    return x * 2\n",
            "late.py": "import my_functions\n\n\ndef same(x):\n    return x\n",
            "unrelated.py": "",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        (tmp_path / "my_functions.py").write_text("def half(x):\n    return x / 2\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield folder
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_nets"]:
            del sys.modules[name]

    def of_the_package(self):
        net = importlib.import_module("my_nets.net").Net()
        stage = export_spec.Stage("model", net, {"x": (None, 3, None, None)}, ("y",))
        return fingerprint(export_spec.ExportSpec((stage,)), ["paddle"])

    @pytest.mark.parametrize("name", ["net.py", "middle.py", "deep/functions.py", "late.py", "../my_functions.py"])
    def test_code_that_the_forward_reaches(self, package, name):
        before = self.of_the_package()
        assert self.of_the_package() == before
        (package / name).write_text((package / name).read_text() + "\nCHANGED = True\n")
        assert self.of_the_package() != before

    def test_code_that_it_does_not(self, package):
        before = self.of_the_package()
        (package / "unrelated.py").write_text("CHANGED = True\n")
        assert self.of_the_package() == before

    def test_the_suites_own_functions(self):
        """`bilinear` holds functions only; no layer is of that module."""
        layers = {
            type(layer).__module__ for stage in tiny().export_spec().stages for layer in stage.layer.sublayers(True)
        }
        files = reachable(name for name in layers if not name.startswith("paddle."))
        assert "ppcore.layers.bilinear" not in layers
        assert files["ppcore.layers.bilinear"].read_text().startswith('"""')
        assert not [name for name in files if name.startswith(("paddle", "numpy", "ppcore.engine"))]

    def test_an_edit_of_the_suites_own_functions(self, tmp_path, monkeypatch):
        before = fingerprint(tiny().export_spec(), ["paddle"])
        edited = tmp_path / "bilinear.py"
        edited.write_bytes(reachable(["ppcore.layers.bilinear"])["ppcore.layers.bilinear"].read_bytes() + b"\n")
        monkeypatch.setattr(
            "ppcore.deploy.fingerprint.reachable",
            lambda modules: {**reachable(modules), "ppcore.layers.bilinear": edited},
        )
        assert fingerprint(tiny().export_spec(), ["paddle"]) != before

    def test_another_paddle(self, monkeypatch):
        before = fingerprint(tiny().export_spec(), ["paddle"])
        monkeypatch.setattr(paddle, "__version__", "9.9.9")
        assert fingerprint(tiny().export_spec(), ["paddle"]) != before

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (paddle.nn.functional.relu, paddle.nn.functional.gelu),
            (functools.partial(paddle.clip, min=0), functools.partial(paddle.clip, min=1)),
            (np.float32(0.5), np.float32(0.25)),
            (np.zeros(3), np.ones(3)),
            ({"scale": 1}, {"scale": 2}),
            ([None, np.ones(2)], [None, np.zeros(2)]),
        ],
    )
    def test_a_setting_of_any_kind(self, one, other):
        """What a layer computes may hang on a function, an array or a mapping as well as on a number."""

        class Net(paddle.nn.Layer):
            def __init__(self, setting):
                super().__init__()
                self.setting = setting

        def of(setting):
            stage = export_spec.Stage("model", Net(setting), {"x": (None, 3, None, None)}, ("y",))
            return fingerprint(export_spec.ExportSpec((stage,)), ["paddle"])

        assert of(one) == of(one)
        assert of(one) != of(other)

    def test_a_buffer_that_is_not_saved(self):
        def of(value):
            net = paddle.nn.Layer()
            net.register_buffer("mean", paddle.to_tensor([value]), persistable=False)
            stage = export_spec.Stage("model", net, {"x": (None, 3, None, None)}, ("y",))
            return fingerprint(export_spec.ExportSpec((stage,)), ["paddle"])

        assert of(0.5) == of(0.5)
        assert of(0.5) != of(0.25)

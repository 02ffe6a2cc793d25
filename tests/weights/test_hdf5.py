"""Keras's .h5 files: read with h5py where there is one, else one line of what to do."""

import importlib.util

import numpy as np
import pytest

import ppcore.weights
from ppcore.errors import WeightsError


def test_without_h5py_one_line_says_what_to_install(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "h5py" else found(name, *rest))
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(WeightsError, match="pip install h5py") as caught:
        ppcore.weights.read(tmp_path / "keras.h5")
    assert "\n" not in str(caught.value)


class TestWithH5py:
    @pytest.fixture
    def h5py(self):
        return pytest.importorskip("h5py", reason="reading .h5 needs h5py (extra `keras`)")

    @pytest.mark.parametrize("root", ["", "model_weights"])
    def test_names_are_those_of_the_layers(self, h5py, tmp_path, root):
        kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
        with h5py.File(tmp_path / "keras.h5", "w") as file:
            layer = (file.create_group(root) if root else file).create_group("dense_1")
            layer.attrs["weight_names"] = [b"dense_1/kernel:0"]
            layer["dense_1/kernel:0"] = kernel
            layer["dense_1/unnamed"] = np.zeros(3)
        found = ppcore.weights.read(tmp_path / "keras.h5")
        assert set(found) == {"dense_1/kernel:0"}
        np.testing.assert_array_equal(found["dense_1/kernel:0"], kernel)

    def test_other_files_are_not_followed(self, h5py, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["secret"] = np.ones(3)
        with h5py.File(tmp_path / "keras.h5", "w") as file:
            layer = file.create_group("dense_1")
            layer.attrs["weight_names"] = [b"kernel:0"]
            layer["kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        with pytest.raises(WeightsError, match="no array of this file"):
            ppcore.weights.read(tmp_path / "keras.h5")

    def test_a_damaged_file(self, h5py, tmp_path):
        (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
        with pytest.raises(WeightsError, match=r"not a readable \.h5 file"):
            ppcore.weights.read(tmp_path / "keras.h5")

"""Formats by suffix, half precision, atomic writing."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from ppcore.errors import OutputError, WeightsError
from ppcore.io import write_atomically
from ppcore.weights.files import read, save_arrays

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(7, dtype=np.int64),
    "c": np.zeros((0, 2), np.float32),
    "t": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_arrays_come_back(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save_arrays(path, ARRAYS)
    got = read(path)
    assert got.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_library_reads_our_safetensors(tmp_path):
    save_arrays(tmp_path / "x.safetensors", ARRAYS, {"layout": "timm"})
    got = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(got["t"], ARRAYS["t"])


def test_half_precision_is_widened_exactly(tmp_path):
    values = np.array([1.0, -2.5, 65280.0], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    half = values.astype("<f2").tobytes()
    header = json.dumps(
        {
            "bf": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]},
            "half": {"dtype": "F16", "shape": [3], "data_offsets": [6, 12]},
        }
    ).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bits + half)
    got = read(path)
    for name in ("bf", "half"):
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], values)


def test_bfloat16_in_npz(tmp_path):
    # JAX writes bfloat16 as numpy's 2-byte void.
    values = np.array([[1.0, -2.5]], np.float32)
    np.savez(tmp_path / "x.npz", w=(values.view(np.uint32) >> 16).astype(np.uint16).view("V2"))
    np.testing.assert_array_equal(read(tmp_path / "x.npz")["w"], values)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("x.safetensors", b"not a file", "safetensors"),
        ("x.npz", b"PK\x03\x04 cut", "npz"),
        ("x.npz", b"", "npz"),
        ("x.hdf", b"", "unknown weight format"),
    ],
)
def test_unreadable_files_are_one_line(tmp_path, name, content, word):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=word) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match="no such weight file"):
        read(tmp_path / "x.npz")
    with pytest.raises(WeightsError, match="File name too long"):
        read(tmp_path / ("x" * 300 + ".npz"))
    with pytest.raises(OutputError, match="does not exist"):
        save_arrays(tmp_path / "no" / "x.npz", ARRAYS)
    with pytest.raises(WeightsError, match=r"\.safetensors or \.npz"):
        save_arrays(tmp_path / "x.pt", ARRAYS)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.npz"
    save_arrays(path, {"a": np.ones(2)})

    def fail(temp):
        temp.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OutputError, match=r"x\.npz: disk full"):
        write_atomically(path, fail)
    np.testing.assert_array_equal(read(path)["a"], [1, 1])
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]

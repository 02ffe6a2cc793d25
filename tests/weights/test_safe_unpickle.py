"""Files of strangers: arrays come out, nothing runs, damage is one clear line."""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest
from pickles import dictionary, tensor, text, torch_file

from ppcore.errors import WeightsError
from ppcore.weights import read, save_arrays


def refused(path: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message, message
    assert str(path) in message, message
    for word in words:
        assert word in message, message


class Payload:
    """Unpickled by a trusting reader, this writes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_pdparams_payload_does_not_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"w": np.ones(2), "x": Payload(mark)}))
    refused(path, "refused", "system")
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # the payload is a real one
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_torch_payload_does_not_run(tmp_path, suffix):
    mark = tmp_path / "ran"
    call = b"cposix\nsystem\n(" + text(f"touch {mark}") + b"tR"
    refused(torch_file(tmp_path / f"evil{suffix}", dictionary({"w": call}), {}), "refused", "posix.system")
    assert not mark.exists()


def test_npz_of_objects_does_not_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "evil.npz"
    np.savez(path, w=np.array([Payload(mark)], dtype=object))
    refused(path, "npz")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "numpy.load", "torch.load"])
def test_the_refused_name_is_told(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "evil.pdparams"
    path.write_bytes(f"\x80\x02c{module}\n{attribute}\n.".encode("latin1"))
    refused(path, name)


def test_codec_other_than_latin1_is_refused(tmp_path):
    path = tmp_path / "evil.pdparams"
    path.write_bytes(b"\x80\x02c_codecs\nencode\n(" + text("x") + text("rot13") + b"tR.")
    refused(path, "rot13")


def test_what_a_pickle_sets_does_not_outlive_the_file(tmp_path):
    # BUILD with a slot state sets attributes on the object given: here, the stand-in itself.
    state = b"(N}" + text("smuggled") + b"J\x01\x00\x00\x00st"
    content = b"ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b0" + dictionary({})
    path = torch_file(tmp_path / "a.pt", content, {})
    with pytest.raises(WeightsError):
        read(path)
    fine = dictionary({"w": tensor("FloatStorage", "0", 2, 0, (2,), (1,))})
    path = torch_file(tmp_path / "b.pt", fine, {"0": np.ones(2, "<f4").tobytes()})
    np.testing.assert_array_equal(read(path)["w"], [1, 1])


def test_strides_offsets_and_shared_storage(tmp_path):
    flat = np.arange(24, dtype="<f4")
    entries = {
        "plain": tensor("FloatStorage", "0", 24, 0, (4, 6), (6, 1)),
        "transposed": tensor("FloatStorage", "0", 24, 0, (6, 4), (1, 6)),
        "corner": tensor("FloatStorage", "0", 24, 8, (2, 2), (6, 1)),
        "expanded": tensor("FloatStorage", "0", 24, 3, (3, 2), (0, 1)),
        "scalar": tensor("FloatStorage", "0", 24, 5, (), ()),
        "empty": tensor("FloatStorage", "0", 24, 0, (0, 3), (3, 1)),
    }
    got = read(torch_file(tmp_path / "a.pt", dictionary(entries), {"0": flat.tobytes()}))
    grid = flat.reshape(4, 6)
    np.testing.assert_array_equal(got["plain"], grid)
    np.testing.assert_array_equal(got["transposed"], grid.T)
    np.testing.assert_array_equal(got["corner"], grid[1:3, 2:4])
    np.testing.assert_array_equal(got["expanded"], [[3, 4]] * 3)
    assert got["scalar"].shape == ()
    assert got["scalar"] == 5
    assert got["empty"].shape == (0, 3)
    got["plain"][:] = 0  # copies, not views of one storage
    assert got["transposed"].any()


@pytest.mark.parametrize(
    ("kind", "stored", "want"),
    [
        ("HalfStorage", np.array([1.5, -2, 6e-5], "<f2"), np.float32),
        ("DoubleStorage", np.array([0.1, -2, 3], "<f8"), np.float64),
        ("LongStorage", np.array([1, -2, 2**40], "<i8"), np.int64),
        ("IntStorage", np.array([1, -2, 3], "<i4"), np.int32),
        ("ByteStorage", np.array([1, 2, 255], "u1"), np.uint8),
        ("BoolStorage", np.array([True, False, True]), np.bool_),
    ],
)
def test_storage_kinds(tmp_path, kind, stored, want):
    entry = dictionary({"w": tensor(kind, "0", 3, 0, (3,), (1,))})
    got = read(torch_file(tmp_path / "a.pt", entry, {"0": stored.tobytes()}))["w"]
    assert got.dtype == want
    np.testing.assert_array_equal(got, stored.astype(want))


def test_bfloat16_and_big_endian(tmp_path):
    exact = np.array([1.0, -2.5, 3.140625], np.float32)
    bits = (exact.view(np.uint32) >> 16).astype(np.uint16)
    entry = dictionary({"w": tensor("BFloat16Storage", "0", 3, 0, (3,), (1,))})
    little = torch_file(tmp_path / "l.pt", entry, {"0": bits.astype("<u2").tobytes()})
    big = torch_file(tmp_path / "b.pt", entry, {"0": bits.astype(">u2").tobytes()}, b"big")
    for path in (little, big):
        np.testing.assert_array_equal(read(path)["w"], exact)


@pytest.mark.parametrize(
    "bad",
    [
        tensor("FloatStorage", "0", 4, 0, (5,), (1,)),  # past the end
        tensor("FloatStorage", "0", 4, 3, (2,), (1,)),  # past the end from an offset
        tensor("FloatStorage", "0", 4, -1, (2,), (1,)),
        tensor("FloatStorage", "0", 4, 3, (2,), (-1,)),
        tensor("FloatStorage", "0", 4, 0, (2**20, 2**20), (0, 0)),  # a bomb of zero strides
        tensor("FloatStorage", "0", 4, 0, (2, 2), (2,)),
        tensor("FloatStorage", "0", 9, 0, (2,), (1,)),  # storage shorter than it says
        tensor("FloatStorage", "7", 4, 0, (2,), (1,)),  # no such storage
    ],
)
def test_tensors_that_do_not_fit_their_storage(tmp_path, bad):
    path = torch_file(tmp_path / "a.pt", dictionary({"w": bad}), {"0": np.ones(4, "<f4").tobytes()})
    refused(path)


def test_legacy_and_damaged_files(tmp_path):
    legacy = tmp_path / "old.pth"
    legacy.write_bytes(pickle.dumps({"w": 1}, protocol=2))
    refused(legacy, "legacy")
    cut = tmp_path / "cut.pdparams"
    cut.write_bytes(pickle.dumps({"w": np.ones(100)})[:50])
    refused(cut)
    script = tmp_path / "script.pt"
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("a/constants.pkl", b"")
    refused(script, "TorchScript")


def test_training_checkpoint_with_options_beside_the_weights(tmp_path):
    weight = tensor("FloatStorage", "0", 2, 0, (2,), (1,))
    ema = tensor("FloatStorage", "1", 2, 0, (2,), (1,))
    options = b"cargparse\nNamespace\n)\x81}" + text("lr") + b"G" + struct.pack(">d", 0.1) + b"sb"
    content = dictionary(
        {"model": dictionary({"module.w": weight}), "model_ema": dictionary({"w": ema}), "args": options}
    )
    data = {"0": np.array([1, 2], "<f4").tobytes(), "1": np.array([3, 4], "<f4").tobytes()}
    path = torch_file(tmp_path / "checkpoint.pth", content, data)
    notes = []
    np.testing.assert_array_equal(read(path, "model", notes)["w"], [1, 2])
    assert "'model'" in notes[0]
    assert "'module.'" in notes[1]
    np.testing.assert_array_equal(read(path, "model_ema")["w"], [3, 4])
    with pytest.raises(WeightsError, match="'model', 'model_ema': say which to take with --key"):
        read(path)
    with pytest.raises(WeightsError, match="did you mean 'model_ema'"):
        read(path, "model_em")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_paddle_state_dict(tmp_path, protocol):
    layer = paddle.nn.Linear(3, 2)
    paddle.save(layer.state_dict(), str(tmp_path / "a.pdparams"), protocol=protocol)
    got = read(tmp_path / "a.pdparams")
    assert set(got) == {"weight", "bias"}
    np.testing.assert_array_equal(got["weight"], layer.weight.numpy())


def test_paddle_nested_tensors_and_bfloat16(tmp_path):
    exact = paddle.to_tensor([1.0, -2.5])
    content = {"model": OrderedDict(w=exact.astype("bfloat16"), h=exact.astype("float16")), "epoch": 3}
    paddle.save(content, str(tmp_path / "a.pdparams"))
    got = read(tmp_path / "a.pdparams")
    for name in ("w", "h"):
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], [1.0, -2.5])


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_both_spellings_of_numpy(tmp_path, core):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pickle.dumps({"w": array}, protocol=2)
    for spelling in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        data = data.replace(spelling, f"{core}.multiarray".encode())
    path = tmp_path / "a.pdparams"
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path)["w"], array)


def test_damaged_files_never_crash_or_run(tmp_path):
    """Flipped and cut bytes give arrays or one clear line; numpy's own __setstate__ segfaulted here."""
    weight = tensor("FloatStorage", "0", 6, 0, (2, 3), (3, 1))
    layer = paddle.nn.Linear(3, 2)
    paddle.save(layer.state_dict(), str(tmp_path / "x.pdparams"))
    paths = [
        torch_file(tmp_path / "x.pt", dictionary({"w": weight}), {"0": np.ones(6, "<f4").tobytes()}),
        tmp_path / "x.pdparams",
        tmp_path / "x.npz",
        tmp_path / "x.safetensors",
    ]
    for path in paths[2:]:
        save_arrays(path, {"w": np.ones((2, 3), np.float32), "h": np.ones(4, np.float16)})
    rng = np.random.default_rng(0)
    for path in paths:
        whole, messages = path.read_bytes(), []
        for trial in range(300):
            data = bytearray(whole)
            for position in rng.integers(len(data), size=rng.integers(1, 4)):
                data[position] = rng.integers(256)
            path.write_bytes(data[: rng.integers(len(data))] if trial % 5 == 0 else data)
            try:
                got = read(path)
            except WeightsError as error:
                messages.append(str(error))
            else:
                assert all(isinstance(array, np.ndarray) for array in got.values())
        assert len(messages) > 100, path
        assert not any("\n" in message for message in messages)

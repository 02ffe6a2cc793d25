"""Networks of images are compiled once for all sizes, and what was compiled is found at the next start."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import paddle
import pytest

from ppcore.deploy import Predictor, export_model
from ppcore.deploy.runtimes import compiled_cache
from ppcore.deploy.runtimes.compiled_cache import CompiledCache
from ppuhdfour import UHDFour

OPENVINO = all(importlib.util.find_spec(name) for name in ("openvino", "paddle2onnx"))
needs_openvino = pytest.mark.skipif(not OPENVINO, reason="needs OpenVINO and paddle2onnx")
TINY = dict(scale=4, extract=4, widths=[4, 8, 12], fusion=4)
KEY = "low-0123"


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((1, 3, height, width), np.float32) * np.float32(0.3)


@pytest.fixture(autouse=True)
def users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PP_CACHE_DIR", str(tmp_path / "user"))
    return tmp_path / "user" / "compiled"


@pytest.fixture
def unwritable(monkeypatch):
    """Lets writing fail in the given folders, also for root, who may write anywhere."""
    write, forbidden = compiled_cache.write_atomically, []

    def refuse(path, function):
        if any(folder in path.parents for folder in forbidden):
            raise PermissionError(13, "Permission denied", str(path))
        write(path, function)

    monkeypatch.setattr(compiled_cache, "write_atomically", refuse)
    return forbidden


class TestFiles:
    def test_parts_come_back(self, users_cache):
        cache = CompiledCache()
        assert cache.load(KEY) is None
        assert cache.save(KEY, [b"graph", b"", b"weights"]) == users_cache
        assert CompiledCache().load(KEY) == [b"graph", b"", b"weights"]

    @pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign"])
    def test_a_damaged_file_is_refused_and_removed(self, tmp_path, damage):
        cache = CompiledCache()
        path = cache.save(KEY, [b"graph", b"weights" * 100]) / f"{KEY}.compiled"
        content = bytearray(path.read_bytes())
        if damage == "bit":
            content[-5] ^= 1
        path.write_bytes({"cut": content[:-9], "bit": content, "empty": b"", "foreign": b"x" * 200}[damage])
        assert cache.load(KEY) is None
        assert not path.exists()

    def test_the_oldest_go(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiled_cache, "LIMIT", 2500)
        cache = CompiledCache()
        for number in range(3):
            path = cache.save(f"k{number}", [bytes(1000)]) / f"k{number}.compiled"
            os.utime(path, (number + 1, number + 1))
        assert cache.load("k1") is not None  # now the one used last
        cache.save("k3", [bytes(1000)])
        assert [cache.load(f"k{number}") is not None for number in range(4)] == [False, True, False, True]

    def test_one_that_is_larger_than_the_limit_is_kept_alone(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiled_cache, "LIMIT", 10)
        cache = CompiledCache()
        cache.save("a", [bytes(100)])
        cache.save("b", [bytes(100)])
        assert (cache.load("a"), cache.load("b")) == (None, [bytes(100)])

    def test_where_it_is(self, monkeypatch, tmp_path):
        monkeypatch.delenv("PP_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert CompiledCache().save(KEY, [b"x"]) == tmp_path / "xdg" / "ppcore" / "compiled"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert CompiledCache().folder == tmp_path / "home" / ".cache" / "ppcore" / "compiled"

    def test_a_folder_of_another_user_is_not_read(self, monkeypatch, tmp_path):
        """What is compiled is run: it must not come from whoever made the folder first."""
        monkeypatch.delenv("PP_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert CompiledCache().save(KEY, [b"x"])
        me = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: me + 1)
        assert CompiledCache().load(KEY) is None
        assert CompiledCache().save(KEY, [b"y"]) is None
        monkeypatch.setenv("PP_CACHE_DIR", str(tmp_path / "ppcore"))  # one that the user names is shared on purpose
        assert CompiledCache().load(KEY) == [b"x"]

    def test_what_killed_processes_left_goes(self, users_cache):
        cache = CompiledCache()
        cache.save(KEY, [b"x"])
        old, young = users_cache / ".low-1.compiled.77.tmp", users_cache / ".low-2.compiled.78.tmp"
        for path in (old, young):
            path.write_bytes(b"half")
        os.utime(old, (1e9, 1e9))
        cache.save(KEY, [b"x"])
        assert {path.name for path in users_cache.iterdir()} == {f"{KEY}.compiled", young.name}

    def test_a_folder_that_cannot_be_written(self, unwritable, users_cache):
        unwritable.append(users_cache)
        assert CompiledCache().save(KEY, [b"x"]) is None


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    paddle.seed(0)
    model = UHDFour(**TINY)
    model.eval()
    return export_model(model, tmp_path_factory.mktemp("compiled") / "out", ["onnx"])


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of the export, without anything compiled."""
    for path in exported.iterdir():
        if path.is_file():
            (tmp_path / "export").mkdir(exist_ok=True)
            (tmp_path / "export" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "export"


def predictor(folder):
    return Predictor(folder, "openvino", threads=1)


def compiled(caplog):
    return [record.getMessage() for record in caplog.records if "OpenVINO compiles" in record.getMessage()]


@needs_openvino
class TestOpenVINO:
    def test_sizes_share_a_compilation_and_the_next_start_has_none(self, folder, caplog):
        caplog.set_level("INFO", "ppcore")
        sizes = [(40, 52), (33, 61), (70, 41), (64, 64)]
        first = predictor(folder)
        results = [first(image(*size)) for size in sizes]
        assert len(compiled(caplog)) == 2  # stages low and high
        caplog.clear()
        second = predictor(folder)
        for size, y in zip(sizes, results, strict=True):
            np.testing.assert_allclose(second(image(*size)), y, atol=1e-6)
        assert not compiled(caplog)

    @pytest.mark.slow
    def test_twenty_sizes_as_one_by_one(self, folder):
        sizes = [(32 + 7 * number, 90 - 3 * number) for number in range(20)]
        shared = predictor(folder)
        for number, size in enumerate(sizes):
            x = image(*size, seed=number)
            y = predictor(folder)(x)
            np.testing.assert_allclose(shared(x), y, atol=2e-6 * np.abs(y).max())

    def test_large_images_are_compiled_for_their_size(self, folder, caplog, monkeypatch):
        monkeypatch.setattr("ppcore.deploy.runtimes.openvino_runtime.OWN_SIZE_FROM", 64 * 64)
        caplog.set_level("INFO", "ppcore")
        found = predictor(folder)
        own = found(image(64, 64))
        assert all("(1, 3, 64, 64)" in line for line in compiled(caplog))
        monkeypatch.undo()
        y = predictor(folder)(image(64, 64))
        assert np.abs(own - y).max() <= 1e-2 * np.abs(y).max()

    def test_damaged_files_are_compiled_again(self, folder, caplog, users_cache):
        caplog.set_level("INFO", "ppcore")
        y = predictor(folder)(image(40, 52))
        for path in users_cache.iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
        caplog.clear()
        np.testing.assert_allclose(predictor(folder)(image(40, 52)), y, atol=1e-6)
        assert len(compiled(caplog)) == 2
        assert "damaged; compiling again" in caplog.text

    def test_what_openvino_does_not_take_is_compiled_again(self, folder, caplog, users_cache):
        caplog.set_level("INFO", "ppcore")
        y = predictor(folder)(image(40, 52))
        cache = CompiledCache()
        for path in list(users_cache.iterdir()):
            blob, *rest = cache.load(path.stem)
            cache.save(path.stem, [b"of another build" + blob[100:], *rest])
        caplog.clear()
        np.testing.assert_allclose(predictor(folder)(image(40, 52)), y, atol=1e-6)
        assert "does not take what was compiled before" in caplog.text
        caplog.clear()
        predictor(folder)(image(40, 52))
        assert not compiled(caplog)

    @pytest.mark.parametrize("change", ["version", "processor", "threads"])
    def test_another_version_processor_or_setting_is_another_file(self, folder, caplog, monkeypatch, change):
        caplog.set_level("INFO", "ppcore")
        predictor(folder)(image(40, 52))
        caplog.clear()
        if change == "version":
            monkeypatch.setattr("openvino.__version__", "2027.0.0-1")
        found = Predictor(folder, "openvino", threads=2 if change == "threads" else 1)
        if change == "processor":
            core = found._runtime.compiler.core
            monkeypatch.setattr(found._runtime.compiler, "core", OtherProcessor(core))
        found(image(40, 52))
        assert len(compiled(caplog)) == 2

    def test_a_folder_that_cannot_be_written(self, folder, caplog, unwritable, users_cache):
        caplog.set_level("INFO", "ppcore")
        before = sorted(folder.iterdir())
        unwritable.append(users_cache)
        y = predictor(folder)(image(40, 52))
        assert "kept in memory: no folder can be written" in caplog.text
        assert not list(folder.rglob("*.compiled"))
        unwritable.pop()
        np.testing.assert_allclose(predictor(folder)(image(40, 52)), y, atol=1e-6)
        assert list(users_cache.rglob("*.compiled"))
        assert sorted(folder.iterdir()) == before, "an export stays as it was written"

    def test_two_processes_at_once(self, folder, users_cache):
        code = (
            "import sys, numpy as np; from ppcore.deploy import Predictor; "
            "x = np.full((1, 3, 40, 52), 0.25, np.float32); x[:, :, ::3] = 0.1; "
            "np.save(sys.argv[2], Predictor(sys.argv[1], 'openvino', threads=1)(x))"
        )
        targets = [folder.parent / f"{number}.npy" for number in range(2)]
        running = [subprocess.Popen([sys.executable, "-c", code, str(folder), str(target)]) for target in targets]
        assert [process.wait(60) for process in running] == [0, 0]
        first, second = (np.load(target) for target in targets)
        np.testing.assert_allclose(first, second, atol=1e-6)
        cache = CompiledCache()
        names = sorted(path.name for path in users_cache.iterdir())
        assert len(names) == 2
        assert all(cache.load(name.removesuffix(".compiled")) for name in names)


class OtherProcessor:
    """OpenVINO's core on a processor of another name."""

    def __init__(self, core):
        self.core = core

    def get_property(self, device, name):
        return "another" if name == "FULL_DEVICE_NAME" else self.core.get_property(device, name)

    def __getattr__(self, name):
        return getattr(self.core, name)

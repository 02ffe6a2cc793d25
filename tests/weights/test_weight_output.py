"""Writing weights: never over what is read, all or nothing, and one line when it cannot be done."""

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from ppcore import weights
from ppcore.errors import ConfigError, OutputError, WeightsError
from ppcore.io import write_atomically
from ppcore.weights.files import read, save_arrays
from ppvit.vit import VisionTransformer

ARRAYS = {"a": np.ones(10_000, np.float32)}
TINY = dict(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=2)


def tiny(**options) -> VisionTransformer:
    return VisionTransformer(**{**TINY, **options})


def one_line(caught: pytest.ExceptionInfo, *words: str) -> None:
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "w.npz"
    save_arrays(path, ARRAYS)
    return path


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hardlink", "folder symlink", "dots"])
def test_the_input_is_no_output(source, tmp_path, monkeypatch, how):
    other = tmp_path / "other.npz"
    (tmp_path / "folder").mkdir()
    if how == "same":
        other = source
    elif how == "relative":
        monkeypatch.chdir(tmp_path)
        other = Path("w.npz")
    elif how == "symlink":
        other.symlink_to(source)
    elif how == "hardlink":
        other.hardlink_to(source)
    elif how == "folder symlink":
        (tmp_path / "link").symlink_to(tmp_path)
        other = tmp_path / "link" / "w.npz"
    else:
        other = tmp_path / "folder" / ".." / "w.npz"
    with pytest.raises(OutputError) as caught:
        weights.check_output(other, source)
    one_line(caught, "is the file that is read", str(other))
    with pytest.raises(OutputError):
        weights.check_output(source, None, other)


def test_another_file_is_one(source, tmp_path):
    weights.check_output(tmp_path / "new.npz", source)
    save_arrays(tmp_path / "old.npz", ARRAYS)
    weights.check_output(tmp_path / "old.npz", source, tmp_path / "absent.npz")


def test_a_checkpoint_is_no_output(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    weights.check_output(tmp_path / "new.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(OutputError, match="part of a checkpoint"):
        weights.check_output(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["x.pth", "x.NPZ", "x"])
def test_unknown_suffix_is_said_first(tmp_path, name):
    with pytest.raises(WeightsError, match="written as"):
        weights.check_output(tmp_path / name)


def test_converting_a_file_onto_itself(tmp_path, tool):
    model = tiny()
    path = tmp_path / "w.safetensors"
    weights.save(model, path, layout="timm")
    before = path.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    overrides = [word for key, value in TINY.items() for word in ("-o", f"{key}={value}")]
    done = tool(
        "convert_weights", "--arch", "ppvit.VisionTransformer", "--source", "timm", "--input", path, "--output", link,
        *overrides,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == done.stderr.splitlines()[-1:]
    assert "is the file that is read" in done.stderr
    assert path.read_bytes() == before
    assert link.is_symlink()


def test_exporting_over_the_weights_in_use(tmp_path, tool, tiny_config):
    from ppcore import config
    from ppcore.config import components

    settings = config.load(tiny_config)
    path = tmp_path / "w.safetensors"
    weights.save(components.build(settings.Arch), path)
    before = path.read_bytes()
    done = tool("export_weights", "-c", tiny_config, "--weights", path, "--layout", "timm", "--output", path)
    assert done.returncode == 2, done.stderr
    assert "is the file that is read" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pdparams"])
def test_no_room(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    weights.save(tiny(), path)
    before = path.read_bytes()
    model = tiny(embed_dim=64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the disk says "File too large" after so many bytes
    try:
        with pytest.raises(OutputError) as caught:
            weights.save(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(caught, f"cannot write {path}: File too large")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path):
    path = tmp_path / "w.npz"
    save_arrays(path, ARRAYS)

    def write(temp: Path) -> None:
        temp.symlink_to("/dev/full")
        temp.write_bytes(b"1234")

    with pytest.raises(OutputError) as caught:
        write_atomically(path, write)
    one_line(caught, f"cannot write {path}: No space left on device")
    assert read(path).keys() == ARRAYS.keys()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_the_disk_fails_at_the_end(tmp_path, monkeypatch, function):
    path = tmp_path / "w.npz"
    save_arrays(path, ARRAYS)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OutputError) as caught:
        save_arrays(path, {"a": np.zeros(2)})
    one_line(caught, f"cannot write {path}: Input/output error")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    for path, word in [
        (tmp_path / "file" / "w.npz", "is not a folder"),
        (tmp_path / "file" / "sub" / "w.npz", "does not exist"),
        (tmp_path / "absent" / "w.npz", "does not exist"),
        (tmp_path / ("x" * 252 + ".npz"), "File name too long"),
        (tmp_path / ("x" * 300) / "w.npz", "File name too long"),
        (tmp_path / "folder.npz", "is a folder"),
        (Path("/proc/w.npz"), "cannot write /proc/w.npz: "),
    ]:
        with pytest.raises(OutputError) as caught:
            save_arrays(path, ARRAYS)
        one_line(caught, str(path), word)
        with pytest.raises(OutputError):
            weights.save(tiny(), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.npz"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        save_arrays(tmp_path / "w.npz", ARRAYS)


def test_a_long_name_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".npz")
    save_arrays(path, ARRAYS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("other", [8, 16])
def test_unknown_resampling(tmp_path, other):
    # Also where nothing is to be resampled: the name would be believed until it matters.
    weights.save(tiny(img_size=other), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError) as caught:
        weights.load(tiny(), tmp_path / "w.safetensors", pos_embed="bicubic")
    one_line(caught, "'bicubic'", "deit_bicubic", "timm_bicubic_antialias", "google_zoom_order1")


def test_unknown_resampling_by_the_tools(tmp_path, tool, tiny_config):
    weights.save(tiny(), tmp_path / "w.safetensors", layout="timm")
    words = ["--arch", "ppvit.VisionTransformer", "--source", "timm", "--input", tmp_path / "w.safetensors"]
    overrides = [word for key, value in TINY.items() for word in ("-o", f"{key}={value}")]
    done = tool("convert_weights", *words, "--output", tmp_path / "x.npz", "--pos-embed", "deit_bicubci", *overrides)
    assert done.returncode == 2, done.stderr
    assert "did you mean 'deit_bicubic'" in done.stderr.splitlines()[-1]
    start = f"Global.pretrained={{path: {tmp_path / 'w.safetensors'}, source: timm, pos_embed: lanczos}}"
    done = tool("train", "-c", tiny_config, "-o", start)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "google_zoom_order1" in done.stderr.splitlines()[-1]

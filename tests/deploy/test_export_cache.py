"""Exports kept in a run's folder: which is found, which is removed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import paddle
import pytest

import ppvit
from ppcore.deploy import export, manifest
from ppcore.deploy.export_cache import KEPT, cached_export
from ppcore.errors import ConfigError

VIT = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 1, "num_classes": 3}


def vit():
    paddle.seed(0)
    return ppvit.VisionTransformer(**VIT)


class TestCachedExport:
    def test_is_written_once_and_anew_for_other_weights(self, tmp_path):
        model = vit()
        folder = cached_export(model, tmp_path, formats=["paddle"])
        assert folder.parent == tmp_path / "exported"
        written = (folder / manifest.NAME).stat().st_mtime_ns
        assert cached_export(vit(), tmp_path, formats=["paddle"]) == folder
        assert (folder / manifest.NAME).stat().st_mtime_ns == written
        model.head.bias.set_value(model.head.bias + 1)
        assert cached_export(model, tmp_path, formats=["paddle"]) != folder
        assert len(list(folder.parent.iterdir())) == 2, "nothing half-written stays"

    def test_damage_is_mended(self, tmp_path):
        folder = cached_export(vit(), tmp_path, formats=["paddle"])
        (folder / "model.pdiparams").write_bytes(b"short")
        assert cached_export(vit(), tmp_path, formats=["paddle"]) == folder
        manifest.check(folder, manifest.read(folder))

    def test_another_process_was_faster(self, tmp_path, monkeypatch):
        write, written = export.write_paddle, []

        def slow(stage, folder):
            if not written:
                written.append(None)
                written[0] = cached_export(vit(), tmp_path, formats=["paddle"])
            write(stage, folder)

        monkeypatch.setattr("ppcore.deploy.export.write_paddle", slow)
        assert cached_export(vit(), tmp_path, formats=["paddle"]) == written[0]
        manifest.check(written[0], manifest.read(written[0]))
        assert list(written[0].parent.iterdir()) == written, "nothing half-written stays"

    def test_a_full_disk_is_one_line(self, tmp_path, monkeypatch):
        def full(stage, folder):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ppcore.deploy.export.write_paddle", full)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            cached_export(vit(), tmp_path, formats=["paddle"])
        assert not list((tmp_path / "exported").iterdir())

    def test_damage_beside_somebodys_file_is_an_error(self, tmp_path):
        folder = cached_export(vit(), tmp_path, formats=["paddle"])
        (folder / "model.pdiparams").write_bytes(b"short")
        (folder / "notes.txt").write_text("mine")
        with pytest.raises(ConfigError, match="damaged and holds files that the tools did not write: remove it"):
            cached_export(vit(), tmp_path, formats=["paddle"])
        assert (folder / "notes.txt").read_text() == "mine"


@pytest.fixture
def another_process():
    """Calls `cached_export` for weights of a number, and keeps what it uses until `input` ends."""
    started = []

    def start(tmp_path, *numbers, stays=False):
        code = (
            "import sys; from test_export_cache import of_number; from pathlib import Path\n"
            "for number in sys.argv[2:]: print(of_number(int(number), Path(sys.argv[1])), flush=True)\n"
            "sys.stdin.read()"
        )
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *map(str, numbers)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        started.append(process)
        folders = [Path(process.stdout.readline().strip()) for _ in numbers]
        if not stays:
            process.communicate(timeout=60)
        return folders if not stays else (folders, process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def of_number(number, within):
    """The export of a network whose weights are made from a number."""
    paddle.seed(number)
    return cached_export(ppvit.VisionTransformer(**VIT), within, formats=("paddle",))


class TestWhatIsKept:
    def test_the_last_used(self, tmp_path, another_process):
        folders = another_process(tmp_path, 1, 2, 3)
        for age, folder in enumerate(reversed(folders)):
            os.utime(folder, (1e9 - age, 1e9 - age))
        assert of_number(1, tmp_path) == folders[0]  # now the one used last
        newest = of_number(4, tmp_path)
        assert {*newest.parent.iterdir()} == {folders[0], folders[2], newest}
        for folder in newest.parent.iterdir():
            manifest.check(folder, manifest.read(folder))

    def test_what_another_process_uses(self, tmp_path, another_process):
        folders, process = another_process(tmp_path, 1, 2, 3, 4, stays=True)
        newest = of_number(5, tmp_path)
        assert {*newest.parent.iterdir()} == {*folders, newest}
        process.communicate(timeout=60)
        newest = of_number(5, tmp_path)
        assert len({*newest.parent.iterdir()}) == KEPT

    @pytest.mark.parametrize("change", ["a file", "an edit", "an int8 form", "a link", "a name"])
    def test_what_somebody_put_there(self, tmp_path, another_process, change):
        mine, *others = another_process(tmp_path, 1, 2, 3)
        if change == "a file":
            (mine / "notes.txt").write_text("mine")
        elif change == "an edit":
            (mine / "model.pdiparams").write_bytes(b"mine")
        elif change == "an int8 form":
            (mine / "model.int8.onnx").write_bytes(b"mine")
            content = manifest.read(mine)
            manifest.write(mine, replace(content, int8={}, files=manifest.files(mine, content.files)))
        elif change == "a link":
            mine = mine.rename(tmp_path / "elsewhere")
            (others[0].parent / ("0" * 24)).symlink_to(mine)
        else:
            mine = mine.rename(mine.with_name("mine"))
        for folder in (mine, *others):
            os.utime(folder, (1e9, 1e9))
        before = {path.name: path.read_bytes() for path in mine.iterdir()}
        for number in (4, 5, 6):
            of_number(number, tmp_path)
        assert {path.name: path.read_bytes() for path in mine.iterdir()} == before

    def test_what_a_killed_process_left(self, tmp_path):
        old, young, strange = (tmp_path / "exported" / name for name in (f".{'a' * 24}.x1", f".{'b' * 24}.x2", ".git"))
        for folder in (old, young, strange):
            folder.mkdir(parents=True)
        for folder in (old, strange):
            os.utime(folder, (1e9, 1e9))
        newest = of_number(1, tmp_path)
        assert {*newest.parent.iterdir()} == {young, strange, newest}

    def test_many_processes_at_once(self, tmp_path):
        """Each finds its export whole, whatever the others remove."""
        code = (
            "import sys; from test_export_cache import of_number; from pathlib import Path\n"
            "from ppcore.deploy import Predictor; import numpy as np\n"
            "for number in range(6): Predictor(of_number(number, Path(sys.argv[1])), 'paddle')(np.zeros((1, 3, 8, 8), 'float32'))"
        )
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        command = [sys.executable, "-c", code, str(tmp_path)]
        running = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
            for _ in range(2)
        ]
        found = [process.communicate(timeout=120)[1] for process in running]
        assert [process.returncode for process in running] == [0, 0], found

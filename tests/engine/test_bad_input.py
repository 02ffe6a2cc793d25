"""Bad input ends in one clear line and status 2, and nothing is lost."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from ppcore import config
from ppcore.engine.evaluate import run as evaluate
from ppcore.engine.train import train
from ppcore.errors import CheckpointError, ConfigError, DataError, PPError, WeightsError
from ppcore.weights.files import read, save_arrays


@pytest.fixture
def folder(tmp_path):
    """Class folders with 2 classes of 20 images."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            cv2.imwrite(str(tmp_path / "images" / name / f"{i}.png"), rng.integers(0, 256, (8, 8, 3), np.uint8))
    return tmp_path / "images"


def on_folder(tiny_config, folder, *more):
    dataset = f"{{name: ppcore.data.ImageFolder, root: {folder}}}"
    return config.load(
        tiny_config,
        [
            f"DataLoader.Train.dataset={dataset}",
            f"DataLoader.Eval.dataset={dataset}",
            "Global.duration={steps: 4}",
            *more,
        ],
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_image_raises_or_is_skipped(tiny_config, folder, workers):
    (folder / "cat" / "3.png").write_bytes(b"no image")
    options = [f"DataLoader.Train.num_workers={workers}", "DataLoader.Train.batch_size=40"]
    with pytest.raises(DataError, match=r"3\.png") as caught:
        train(on_folder(tiny_config, folder, *options))
    assert len(str(caught.value).splitlines()) == 1
    skip = ["DataLoader.Train.unreadable=skip", "DataLoader.Eval.unreadable=skip", "Global.resume=auto"]
    result = train(on_folder(tiny_config, folder, *options, *skip, f"Global.output_dir={folder.parent / 'skipping'}"))
    assert result.step == 4
    metrics = (folder.parent / "skipping" / "metrics.jsonl").read_text()
    assert '"skipped": 1' in metrics
    assert '"n": 39' in metrics


def test_label_out_of_range(tiny_config, folder):
    with pytest.raises(DataError, match=r"out of range|has 2 classes"):
        train(on_folder(tiny_config, folder, "Arch.num_classes=1"))


def test_missing_folder(tiny_config, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        train(on_folder(tiny_config, tmp_path / "nowhere"))


def test_batch_larger_than_the_dataset(tiny_config, folder):
    with pytest.raises(DataError, match="batch_size 41 is larger"):
        train(on_folder(tiny_config, folder, "DataLoader.Train.batch_size=41"))


def test_wrong_weights(tiny_config, tmp_path):
    train(config.load(tiny_config, ["Global.duration={steps: 1}"]))
    with pytest.raises(WeightsError, match=r"blocks\.1") as caught:
        evaluate(config.load(tiny_config, ["Arch.depth=1"]))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(WeightsError, match="no such weight file"):
        evaluate(config.load(tiny_config), str(tmp_path / "absent.safetensors"))
    arrays = read(tmp_path / "run" / "checkpoints" / "step_1" / "weights.safetensors")
    del arrays["norm.weight"]
    save_arrays(tmp_path / "cut.safetensors", arrays)
    with pytest.raises(WeightsError, match=r"norm\.weight"):
        evaluate(config.load(tiny_config), str(tmp_path / "cut.safetensors"))


def test_no_weights_at_all(tiny_config):
    with pytest.raises(ConfigError, match="train first"):
        evaluate(config.load(tiny_config))


def test_a_run_is_not_overwritten(tiny_config):
    train(config.load(tiny_config, ["Global.duration={steps: 1}"]))
    with pytest.raises(ConfigError, match="already holds a run"):
        train(config.load(tiny_config, ["Global.duration={steps: 1}", "Global.resume=never"]))
    with pytest.raises(CheckpointError, match=r"Arch\.depth was 2 and is now 3"):
        train(config.load(tiny_config, ["Global.duration={steps: 1}", "Arch.depth=3"]))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["-c", "absent.yaml"], "absent.yaml: no such configuration file"),
        ("train", ["-c", "TINY", "-o", "Arch.dpeth=3"], "did you mean 'depth'?"),
        ("eval", ["-c", "TINY", "--wieghts", "x"], "unrecognized arguments"),
        ("infer", ["-c", "TINY"], "Infer.input is not set"),
        (
            "convert_weights",
            ["--arch", "os.system", "--source", "timm", "--input", "a.npz", "--output", "b.pdparams"],
            "outside",
        ),
        ("reproduce", ["vti"], "did you mean 'vit'?"),
    ],
)
def test_tools_exit_with_one_line_and_status_2(tool, tiny_config, name, arguments, message):
    done = tool(name, *[str(tiny_config) if word == "TINY" else word for word in arguments])
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr


def test_a_start_that_failed_does_not_hold_the_folder(tiny_config, folder, tmp_path):
    with pytest.raises(DataError, match="batch_size 41 is larger"):
        train(on_folder(tiny_config, folder, "DataLoader.Train.batch_size=41"))
    assert train(on_folder(tiny_config, folder)).step == 4


def test_errors_are_pperrors():
    assert issubclass(DataError, PPError)
    assert issubclass(ConfigError, ValueError)


def test_two_trainings_in_one_folder(tiny_config, tmp_path, root):
    """The second would write over the first one's checkpoints."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another process is training there"):
            train(config.load(tiny_config))
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    train(config.load(tiny_config, ["Global.duration={steps: 2}"]))  # the lock died with its holder


HOLD = """
import sys, time
from pathlib import Path
from ppcore.engine.run_folder import hold
block = hold(Path(sys.argv[1]))
block.__enter__()
print("held", flush=True)
time.sleep(60)
"""

"""What would end a training at its first evaluation is found before the first step, all of it at once."""

import shutil

import cv2
import numpy as np
import pytest
import yaml

from ppcore import config
from ppcore.engine.train import train
from ppcore.errors import ConfigError, PPError


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(20):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                cv2.imwrite(str(tmp_path / "images" / split / name / f"{i}.png"), pixels)
    return tmp_path / "images"


def settings(tiny_config, folders, *more):
    options = [
        f"DataLoader.{part}.dataset={{name: ppcore.data.ImageFolder, root: {folders / split}}}"
        for part, split in (("Train", "train"), ("Eval", "val"))
    ]
    return config.load(tiny_config, [*options, "Arch.num_classes=2", "Global.duration={steps: 4}", *more])


def refused(cfg) -> str:
    with pytest.raises(PPError) as error:
        train(cfg)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert not (cfg.Global.output_dir and any(__import__("pathlib").Path(cfg.Global.output_dir).glob("checkpoints/*")))
    return text


def test_evaluation_without_normalize(tiny_config, folders):
    assert "DataLoader.Eval" in refused(settings(tiny_config, folders, "DataLoader.Eval.transforms={}"))


def test_an_unreadable_evaluation_image(tiny_config, folders):
    (folders / "val" / "cat" / "0.png").write_bytes(b"no image")
    assert "0.png" in refused(settings(tiny_config, folders))


def test_a_bad_image_further_on_loses_nothing(tiny_config, folders, tmp_path):
    (folders / "val" / "dog" / "9.png").write_bytes(b"no image")
    with pytest.raises(PPError, match=r"9\.png"):
        train(settings(tiny_config, folders, "Global.eval_every={steps: 2}"))
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step_2\n"
    (folders / "val" / "dog" / "9.png").unlink()
    assert train(settings(tiny_config, folders, "Global.eval_every={steps: 2}")).step == 4
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert metrics.count('"kind": "eval", "step": 2') == 1  # the one that had failed comes first


def test_all_at_once(tiny_config, folders):
    (folders / "train" / "cat" / "0.png").write_bytes(b"no image")
    (folders / "val" / "cat" / "0.png").write_bytes(b"no image")
    text = refused(settings(tiny_config, folders))
    assert "train/cat/0.png" in text
    assert "val/cat/0.png" in text


class TestBeside:
    """More training data is looked at like the training set: its images, their size, its files."""

    NORMALIZE = "{normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}"

    def settings(self, tiny_config, folders, dataset: str = "", transforms: str = NORMALIZE):
        dataset = dataset or f"{{name: ppcore.data.ImageFolder, root: {folders / 'extra'}}}"
        part = f"{{extra: {{dataset: {dataset}, transforms: {transforms}, batch_size: 4}}}}"
        return settings(tiny_config, folders, f"DataLoader.Beside={part}")

    @pytest.fixture
    def folders(self, folders):
        shutil.copytree(folders / "train", folders / "extra")
        return folders

    def test_an_unreadable_image(self, tiny_config, folders):
        (folders / "extra" / "cat" / "0.png").write_bytes(b"no image")
        text = refused(self.settings(tiny_config, folders))
        assert text.startswith("DataLoader.Beside.extra: ")
        assert "extra/cat/0.png" in text

    def test_images_of_another_size(self, tiny_config, folders):
        crop = self.NORMALIZE.replace("{normalize", "{crop: {name: ppcore.data.RandomCrop, size: 4}, normalize", 1)
        text = refused(self.settings(tiny_config, folders, transforms=crop))
        assert "DataLoader.Beside.extra.transforms give images of 4x4" in text
        assert "ppcore.data.RandomCrop" in text

    def test_a_missing_file(self, tiny_config, folders, tmp_path):
        lines = [f"cat/{i}.png 0" for i in range(20)] + ["cat/absent.png 0"]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        listed = (
            f"{{name: ppcore.data.FileList, cls_label_path: {tmp_path / 'list.txt'}, image_root: {folders / 'extra'}}}"
        )
        text = refused(self.settings(tiny_config, folders, listed))
        assert text.startswith("DataLoader.Beside.extra: 1 of 21 files")

    def test_nothing_wrong(self, tiny_config, folders):
        assert train(self.settings(tiny_config, folders)).step == 4


def test_a_metric_that_evaluation_does_not_give(tiny_config, folders):
    assert "gives no 'psnr'" in refused(settings(tiny_config, folders, "Global.best_metric=psnr"))


def test_files_of_a_list_that_are_missing(tiny_config, folders, tmp_path):
    lines = [f"cat/{i}.png 0" for i in range(20)] + [f"dog/{i}.png 1" for i in range(20)]
    lines[31] = "dog/absent.png 1"
    (tmp_path / "list.txt").write_text("\n".join(lines))
    listed = f"{{name: ppcore.data.FileList, cls_label_path: {tmp_path / 'list.txt'}, image_root: {folders / 'train'}}}"
    text = refused(settings(tiny_config, folders, f"DataLoader.Train.dataset={listed}"))
    assert "1 of 40 files" in text
    assert "absent.png" in text


def test_classes_of_the_splits_are_matched_by_name(tiny_config, folders):
    (folders / "val" / "cat").rename(folders / "val" / "zebra")
    assert "zebra" in refused(settings(tiny_config, folders))


@pytest.mark.parametrize("where", ["a file", "below a file", "too long"])
def test_a_folder_that_cannot_be_made(tiny_config, folders, tmp_path, where):
    (tmp_path / "file").write_text("")
    output = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "run",
        "too long": tmp_path / ("x" * 300),
    }
    with pytest.raises(ConfigError, match=r"choose another Global\.output_dir"):
        train(settings(tiny_config, folders, f"Global.output_dir={output[where]}"))


def test_a_damaged_configuration_of_a_run(tiny_config, folders, tmp_path):
    train(settings(tiny_config, folders))
    for text in ("", "Global: [", "- 1"):
        (tmp_path / "run" / "config.yaml").write_text(text)
        with pytest.raises(PPError, match=r"config\.yaml"):
            train(settings(tiny_config, folders))


@pytest.mark.parametrize("length", ["banana", "{epochs: -1}", "null"])
def test_a_damaged_length_of_a_run(tiny_config, folders, tmp_path, length):
    train(settings(tiny_config, folders))
    saved = tmp_path / "run" / "config.yaml"
    tree = yaml.safe_load(saved.read_text())
    tree["Global"]["duration"] = yaml.safe_load(length)
    saved.write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.raises(PPError, match=r"config\.yaml: its section Global is damaged"):
        train(settings(tiny_config, folders))


def test_a_negative_rate(tiny_config, folders):
    assert "rate" in refused(settings(tiny_config, folders, "Optimizer.lr.base_lr=-1e-3"))


def test_more_outputs_than_classes_and_a_long_warm_up_are_said(tiny_config, folders, tmp_path):
    train(settings(tiny_config, folders, "Arch.num_classes=1000", "Optimizer.lr.warmup={steps: 4}"))
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "the model has 1000 outputs and the data 2 classes" in log
    assert "the warm-up of 4 steps is as long as the run of 4" in log


def test_a_run_without_evaluation_goes_on(tiny_config, folders, tmp_path):
    options = ("DataLoader.Eval=null", "Global.eval_every={steps: 2}", TestLonger.CONSTANT)
    train(settings(tiny_config, folders, *options))
    assert train(settings(tiny_config, folders, *options, "Global.duration={steps: 8}")).step == 8


class TestLonger:
    CONSTANT = "Optimizer.lr={name: ppcore.schedules.Constant, base_lr: 1e-3}"

    def test_a_schedule_without_an_end_goes_on(self, tiny_config, folders, tmp_path):
        train(settings(tiny_config, folders, self.CONSTANT))
        assert train(settings(tiny_config, folders, self.CONSTANT, "Global.duration={steps: 9}")).step == 9
        steps = [
            __import__("json").loads(line)["step"]
            for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
            if '"train"' in line
        ]
        assert steps == list(range(1, 10))

    def test_a_cosine_does_not_and_the_advice_works(self, tiny_config, folders, tmp_path):
        train(settings(tiny_config, folders))
        with pytest.raises(PPError, match=r"-o Global\.pretrained=") as error:
            train(settings(tiny_config, folders, "Global.duration={steps: 9}"))
        assert len(str(error.value).splitlines()) == 1
        advised = [f"Global.output_dir={tmp_path / 'new'}", f"Global.pretrained={tmp_path / 'run'}"]
        assert train(settings(tiny_config, folders, "Global.duration={steps: 9}", *advised)).step == 9

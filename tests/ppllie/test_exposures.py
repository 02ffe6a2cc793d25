"""Scenes of several exposures: folders, pairs by chance, and a training on them."""

import json

import cv2
import numpy as np
import pytest

from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError, DataError
from ppllie.exposures import ChooseTwo, Dim, Expose, ExposureFolders, SceneFolders


def write(path, value: int, size=(8, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(value).integers(0, 2 * value + 1, (*size, 3), np.uint8)
    image[0, 0] = value
    cv2.imwrite(str(path), image)


@pytest.fixture
def scenes(tmp_path):
    for scene, values in {"1": (10, 20, 30), "2": (40, 50), "10": (60, 70)}.items():
        for value in values:
            write(tmp_path / scene / f"{value}.png", value)
    return tmp_path


def values(sample) -> list[int]:
    return [int(pixels_of(image)[0, 0, 0]) for image in sample["exposures"]]


def test_scenes_are_in_the_order_of_their_numbers(scenes):
    images = SceneFolders(root=str(scenes))
    assert [values(images.load(place)) for place in range(len(images))] == [[10, 20, 30], [40, 50], [60, 70]]
    assert values(SceneFolders(root=str(scenes), split=[1, 2]).load(0)) == [40, 50]
    assert len(SceneFolders(root=str(scenes), exclude=["2"])) == 2


def test_a_scene_of_one_image_or_of_two_sizes_is_named(scenes):
    write(scenes / "3" / "a.png", 1)
    with pytest.raises(DataError, match=r"3 has one image"):
        SceneFolders(root=str(scenes))
    write(scenes / "3" / "b.png", 1, (8, 11))
    with pytest.raises(DataError, match=r"b\.png is 8x11"):
        SceneFolders(root=str(scenes))


def test_two_folders_are_two_exposures(tmp_path):
    write(tmp_path / "low" / "a.png", 5)
    write(tmp_path / "over" / "a.png", 120)
    assert values(ExposureFolders(root=str(tmp_path), low="low", high="over").load(0)) == [5, 120]


def test_every_ordered_pair_of_different_exposures_comes_up_equally_often():
    rng, counts = np.random.default_rng(0), {}
    for _ in range(3000):
        sample = ChooseTwo()({"exposures": [0, 1, 2], "path": "a"}, rng)
        assert set(sample) == {"image", "target", "path"}
        pair = (sample["image"], sample["target"])
        counts[pair] = counts.get(pair, 0) + 1
    assert set(counts) == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert min(counts.values()) > 400


def test_one_exposure_is_refused():
    for sample in ({"image": 1}, {"exposures": [1]}):
        with pytest.raises(ConfigError, match="two are needed"):
            ChooseTwo()(sample, np.random.default_rng(0))


def test_two_exposures_are_made_of_one_photograph():
    def exposure(sample, rng):
        return {**sample, "image": sample["target"] * rng.random()}

    sample = Expose(exposure=exposure)({"target": 8.0, "image": 1.0}, np.random.default_rng(0))
    first, second = np.random.default_rng(0).random(2)
    assert (sample["image"], sample["target"]) == (8 * first, 8 * second)


def config(folder, output) -> dict:
    steps = {
        "two": {"name": "ppllie.exposures.ChooseTwo"},
        "crop": {"name": "ppcore.data.PairedRandomCrop", "size": 8},
        "to_float": {"name": "ppcore.data.PairToFloat"},
    }
    return {
        "Global": {"output_dir": str(output / "run"), "duration": {"steps": 3}, "log_every": {"steps": 1}},
        "Arch": {"name": "ppllie.PairLIE", "width": 16},
        "Task": {"name": "ppllie.ExposurePairs"},
        "Loss": {"name": "ppllie.PairLIELoss"},
        "Optimizer": {
            "name": "ppcore.optim.Adam", "lr": {"name": "ppcore.schedules.Constant", "base_lr": 1e-3},
        },
        "DataLoader": {
            "Train": {
                "dataset": {"name": "ppllie.exposures.SceneFolders", "root": str(folder)},
                "transforms": steps, "batch_size": 2,
            }
        },
    }  # fmt: skip


def test_training_minimises_the_loss_of_both_exposures_and_logs_its_terms(scenes, tmp_path_factory):
    import yaml

    from ppcore import config as configuration
    from ppcore.engine.train import train

    output = tmp_path_factory.mktemp("output")
    path = output / "config.yaml"
    path.write_text(yaml.safe_dump(config(scenes, output), sort_keys=False))
    train(configuration.load(path))
    lines = [json.loads(line) for line in (output / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "consistency" in line]
    assert len(steps) == 3
    for line in steps:
        retinex = line["product"] + line["quotient"] + line["brightest"] + line["smoothness"]
        assert line["loss"] == pytest.approx(line["consistency"] + retinex + 500 * line["projection"], rel=1e-4)
        assert min(line["consistency"], line["smoothness"]) > 0


def test_dimmed_exposures_have_the_mean_and_the_contrast_that_were_asked_for():
    rng = np.random.default_rng(3)
    low, over = (rng.integers(0, top, (40, 30, 3), np.uint8) for top in (60, 256))
    sample = {"exposures": [low, over], "path": "a"}
    first, second = Dim(mean=[0.1, 0.1], powers=[1, 2])(sample, rng)["exposures"]
    assert first.dtype == second.dtype == np.uint8
    assert [image.mean() / 255 for image in (first, second)] == pytest.approx([0.1, 0.1], rel=0.01)
    x = np.square(over / 255)
    np.testing.assert_allclose(second, 255 * x * (0.1 / x.mean()), atol=0.501)
    means = [Dim(mean=[0.05, 0.2])(sample, rng)["exposures"][1].mean() / 255 for _ in range(60)]
    assert 0.049 < min(means) < 0.06 < 0.17 < max(means) < 0.201
    assert 0.08 < np.median(means) < 0.125


def test_dim_reads_files_and_leaves_black_black(tmp_path):
    for folder, value in (("low", 5), ("over", 120)):
        write(tmp_path / folder / "a.png", value)
    sample = ExposureFolders(root=str(tmp_path), low="low", high="over").load(0)
    sample["exposures"].append(np.zeros((8, 10, 3), np.uint8))
    dark = Dim(mean=[0.02, 0.02])(sample, np.random.default_rng(0))["exposures"]
    assert [image.mean() / 255 for image in dark] == pytest.approx([0.02, 0.02, 0.0], abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mean": [0.2, 0.1]}, "mean is"),
        ({"mean": [0.5, 1.5]}, "above 1"),
        ({"mean": [0.1, 0.2], "powers": [0]}, "powers"),
    ],
)
def test_wrong_dimming_is_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        Dim(**arguments)


def test_dimming_needs_a_power_for_every_exposure():
    for sample in ({"image": 1}, {"exposures": [np.zeros((2, 2, 3), np.uint8)]}):
        with pytest.raises(ConfigError, match="a power for each"):
            Dim(mean=[0.1, 0.2], powers=[1, 2])(sample, np.random.default_rng(0))

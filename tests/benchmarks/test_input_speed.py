"""Commands from files to answers, and the training input path: what is timed is the real thing."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

import benchmarks
from benchmarks import files_to_answers, gemm, training_input

CONFIG = """
Global: {output_dir: out}
Arch: {name: ppvit.VisionTransformer, img_size: 32, embed_dim: 24, depth: 1, num_heads: 2, num_classes: 10}
DataLoader:
  Eval:
    dataset: {name: ppcore.data.ImageFolder, root: data}
    transforms:
      resize: {name: ppcore.data.Resize, size: 36, interpolation: bicubic}
      crop: {name: ppcore.data.CenterCrop, size: 32}
      normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
    batch_size: 4
"""
SIZES = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 10}


@pytest.fixture(autouse=True)
def one_library(monkeypatch):
    """The machine is measured by one library: faster to start."""
    monkeypatch.setattr(gemm, "LIBRARIES", {"openvino": gemm.openvino_product})


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    return {
        "config": str(tmp_path / "small.yaml"), "arch": {"name": "ppvit.VisionTransformer", **SIZES},
        "timm": {"name": "vit_tiny_patch16_224", **SIZES},
    }  # fmt: skip


def files(spec, peers):
    preprocessing = {"resize": 36, "crop": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    ours = {"mine": {"precision": "fp32", "override": ["Infer.engine=eager"]}}
    return files_to_answers.files(
        {"small": spec},
        ours,
        peers,
        preprocessing,
        source=None,
        count=6,
        number=1,
        seconds=None,
        threads=1,
        gemm_size=256,
    )


def test_our_command(spec):
    result = files(spec, {})
    [row] = result["rows"]
    assert "reason" not in row, row
    assert row["seconds"] > 0.3  # a whole start of Python
    assert row["images_per_second"] == pytest.approx(6 / row["seconds"])
    assert row["agreement"] == 1.0
    assert "6 JPEGs of 500x375" in files_to_answers.table(result)


@pytest.mark.slow
def test_the_peer_gives_the_same_answers_at_its_fastest_setting(spec):
    for package in ("torch", "timm"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    settings = [{"batch": 2, "workers": 0}, {"batch": 3, "workers": 1}]
    result = files(spec, {"theirs": {"precision": "fp32", "settings": settings}})
    mine, theirs = result["rows"]
    assert theirs["setting"] in ("batch 2, workers 0", "batch 3, workers 1")
    assert theirs["agreement"] >= 5 / 6  # resized by other libraries
    assert f"mine over theirs: {theirs['seconds'] / mine['seconds']:.2f}×" in files_to_answers.table(result)


def test_a_command_that_fails_is_a_row(spec):
    spec["config"] = "no_such.yaml"
    [row] = files(spec, {})["rows"]
    assert "no_such.yaml" in row["reason"]


def test_photographs(tmp_path):
    size = files_to_answers.photographs(None, 25, tmp_path)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 25
    with Image.open(paths[24]) as image:
        assert image.size == (500, 375)
    assert size == pytest.approx(np.mean([path.stat().st_size for path in paths]), abs=1)


def test_training_input():
    contenders = {"ours": {"kind": "ours", "workers": 0}}
    result = training_input.data(
        benchmarks.components("data")["config"], contenders, source=None, batch=4, batches=2, number=1, seconds=None,
        threads=1, count=8, gemm_size=256,
    )  # fmt: skip
    [row] = result["rows"]
    assert row["images_per_second"]["median"] > 0
    assert row["process_ms"]["median"] >= row["loop_ms"]["median"] >= 0
    assert "| ours | 0 |" in training_input.table(result)

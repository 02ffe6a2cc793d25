"""A package that the suite has never heard of, in a folder outside it: trained, killed, resumed, measured, exported, reported.

`stranger/` holds it: an adversarial method (two optimizers taking turns), a self-distilling one (a teacher that follows
the student, a remembered centre, views of two sizes), an evaluator of its own, and a page of published figures.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, run_tool
from killing import train_and_kill

from ppcore.io import sha256
from ppcore.weights.files import read

METHODS = ("adversarial", "self_distillation")
STEPS = 40
ALLOW = ("--allow", "toyland")


class Place:
    """A folder with the package, and the tools run in it."""

    def __init__(self, folder: Path):
        self.folder = shutil.copytree(Path(__file__).parent / "stranger", folder / "elsewhere")

    def tool(self, name: str, *arguments: object, **kwargs):
        done = run_tool(name, *arguments, *ALLOW, path=(self.folder,), cwd=self.folder, **kwargs)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def run(self, method: str) -> Path:
        return self.folder / "runs" / method

    def last(self, method: str) -> Path:
        return self.run(method) / "checkpoints" / f"step_{STEPS}"

    def records(self, method: str, kind: str) -> list[dict]:
        lines = (self.run(method) / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """Both methods trained to the end."""
    found = Place(tmp_path_factory.mktemp("stranger"))
    for method in METHODS:
        found.tool("train", "-c", f"{method}.yaml")
    return found


def test_no_shared_file_knows_it():
    for folder in ("ppcore", "tools", "configs", "papers", "setup.py", "Makefile"):
        files = [ROOT / folder] if (ROOT / folder).is_file() else [p for p in (ROOT / folder).rglob("*") if p.is_file()]
        assert not [p for p in files if p.suffix in (".py", ".yaml", "") and "toyland" in p.read_text(errors="replace")]


def test_the_optimizers_take_turns(place):
    """Both networks move, each at its own rate, and every part of the loss is recorded."""
    assert {"generator", "critic"} == {
        key.split("|")[0] for key in read(place.last("adversarial") / "optimizer.safetensors")
    }
    records = place.records("adversarial", "train")
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    for record in records:
        assert {"distance", "real", "fake", "lr_generator", "lr_critic", "grad_norm_critic"} <= set(record)
        assert record["lr_generator"] == 2 * record["lr_critic"]
    assert records[-1]["distance"] < 0.7 * records[0]["distance"]
    assert records[-1]["real"] > records[-1]["fake"], "the critic tells them apart"
    first, last = (place.run("adversarial") / "checkpoints" / f"step_{step}" for step in (36, STEPS))
    for name, array in read(last / "networks.safetensors").items():
        assert (array != read(first / "networks.safetensors")[name]).any(), name


def test_the_teacher_is_the_students_average(place):
    """What is exported is the teacher; the student and the centre are saved beside it, and it learns."""
    last = place.last("self_distillation")
    teacher, others = read(last / "weights.safetensors"), read(last / "networks.safetensors")
    assert set(others) == {"centre", *(f"student.{name}" for name in teacher)}
    assert (others["centre"] != 0).all()
    for name, array in teacher.items():
        gap = np.abs(array - others[f"student.{name}"]).max()
        assert 0 < gap < 0.2, name
    assert {key.split("|")[1].split(".")[0] for key in read(last / "optimizer.safetensors")} == {"student"}
    assert place.records("self_distillation", "eval")[-1]["knn"] > 0.8  # chance is a third


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_bit_for_bit(place, tmp_path, method):
    config = place.folder / f"{method}.yaml"
    folder = tmp_path / "run"
    arguments = ("-c", config, *ALLOW, "-o", f"Global.output_dir={folder}")
    train_and_kill(folder, *arguments, at=9, last=STEPS, path=(place.folder,))
    done = place.tool("train", "-c", config, "-o", f"Global.output_dir={folder}")
    assert "resumed from step_" in done.stderr
    for file in ("weights", "networks", "optimizer"):
        one, other = (
            run / f"{file}.safetensors" for run in (folder / "checkpoints" / f"step_{STEPS}", place.last(method))
        )
        assert sha256(one) == sha256(other), file


@pytest.mark.parametrize(("method", "key"), [("adversarial", "psnr"), ("self_distillation", "knn")])
def test_evaluated_as_training_did(place, tmp_path, method, key):
    place.tool(
        "eval",
        "-c",
        f"{method}.yaml",
        "--weights",
        f"runs/{method}/checkpoints/latest",
        "--json",
        tmp_path / "result.json",
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert result[key] == place.records(method, "eval")[-1][key]
    assert result["n"] == 24
    assert ("NearestNeighbours(k=5" in result["protocol"]) == (method == "self_distillation")


def test_exported_it_computes_the_same(place):
    pytest.importorskip("paddle2onnx")
    from ppcore.deploy import Predictor

    place.tool("export_model", "-c", "adversarial.yaml", "--weights", "runs/adversarial/checkpoints/latest")
    predictor = Predictor(place.run("adversarial") / "export")
    import sys

    sys.path.insert(0, str(place.folder))
    try:
        from toyland import Discs
    finally:
        sys.path.remove(str(place.folder))
    pairs = [Discs(count=24, seed=1).load(i) for i in range(24)]
    dark, light = (np.stack([pair[name] for pair in pairs]).transpose(0, 3, 1, 2) / 255 for name in ("image", "target"))
    made = np.rint(np.clip(predictor(dark.astype(np.float32)), 0, 1) * 255) / 255
    psnr = np.mean([-10 * np.log10(np.mean((a - b) ** 2)) for a, b in zip(made, light, strict=True)])
    assert psnr == pytest.approx(place.records("adversarial", "eval")[-1]["psnr"], abs=2e-2)


def test_it_makes_pictures_of_photographs(place):
    rng = np.random.default_rng(0)
    cv2.imwrite(str(place.folder / "photo.png"), rng.integers(0, 80, (21, 34, 3), np.uint8))
    place.tool("infer", "-c", "adversarial.yaml", "-o", "Infer.input=photo.png", "-o", "Infer.output=bright")
    assert cv2.imread(str(place.folder / "bright" / "photo.png")).shape == (21, 34, 3)


def test_it_is_reported_beside_published_figures(place, tmp_path):
    done = run_tool(
        "compare", *(place.run(method) for method in METHODS), "-o", tmp_path / "report", "--paper", place.folder / "paper.yaml",
        cwd=place.folder, path=(place.folder,),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report" / "report.md").read_text()
    ours = place.records("self_distillation", "eval")[-1]["knn"]
    assert f"{100 * ours:.1f}" in page
    assert "k-NN" in page
    assert "31.41" in page, "the published figure"


def test_two_processes_train_it(place, tmp_path):
    """Without batch norms, two processes do what one does; with two optimizers, they stay one network."""
    for method in METHODS:
        options = ("-o", f"Global.output_dir={tmp_path / method}", "-o", "Global.device=cpu")
        place.tool("train", "-c", f"{method}.yaml", *options, launch=2, log_dir=tmp_path / "log")
    one, two = place.last("self_distillation"), tmp_path / "self_distillation" / "checkpoints" / f"step_{STEPS}"
    for file in ("weights", "networks"):
        alone, together = (read(run / f"{file}.safetensors") for run in (one, two))
        for name, array in alone.items():
            np.testing.assert_allclose(together[name], array, atol=2e-5, err_msg=name)
    made = read(tmp_path / "adversarial" / "checkpoints" / f"step_{STEPS}" / "networks.safetensors")
    assert all(np.isfinite(array).all() for array in made.values())

"""The benchmarks measure what is installed, say what is not, and compare like with like."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import benchmarks
from benchmarks import augment, classify, teacher_cost
from benchmarks.inference_contenders import KINDS
from ppcore.config import components, roles
from ppcore.errors import ConfigError, DataError

MODEL = {"arch": {"name": "ppvit.vit_tiny_patch16_224"}}


def test_ours_is_measured_and_absent_peers_are_named(monkeypatch):
    def fake(name, environment, threads, **about):
        rate = {"default": 4.0, "mkl": 6.0, "suite": 9.0}[environment]
        return (
            {"missing": "pip install x"}
            if name == "torch"
            else {"images_per_second": rate * (2 if name == "ours" else 1)}
        )

    monkeypatch.setattr(classify, "in_a_process", fake)
    peers = {"paddleclas": {}, "timm": {}}
    names = ["ours", "paddleclas", "torch"]
    sizes = dict(batch=1, size=16, steps=1, rounds=2, threads=1)
    result = classify.train({"small": MODEL | peers, "alone": MODEL}, names, **sizes)
    assert {row["contender"] for row in result["rows"] if row["model"] == "alone"} == {"ours"}
    ours = [row for row in result["rows"] if row["contender"] == "ours" and row["model"] == "small"]
    assert [row["ratio_to_paddleclas"] for row in ours] == [2.0, 2.0, 2.0]
    assert "not installed: `pip install x`" in classify.table(result)


def test_a_real_step():
    found = classify.in_a_process("ours", "suite", 1, batch=1, size=32, steps=2, model=MODEL)
    assert 0 < found["slowest"] <= found["images_per_second"] <= found["fastest"]
    assert 0 < found["loss"] < 7  # it has learned something of its one image; -log(1/1000) is 6.9


def test_all_that_there_is_can_be_asked_for(root, tool):
    """Every YAML file is a `--what`, and so is every command that the documentation gives."""
    done = tool("benchmark", "--help")
    offered = set(re.search(r"--what {([\w,]+)}", done.stdout)[1].split(","))
    assert offered == {path.stem for path in (root / "benchmarks").glob("*.yaml")}
    assert offered == set(re.findall(r"^(\w+): ", done.stdout, flags=re.M)) - {"options", "usage"}
    pages = [
        root / "README.md",
        root / "RESULTS.md",
        *(root / "docs").glob("*.md"),
        *(root / "benchmarks").glob("*.yaml"),
    ]
    asked = {word for page in pages for word in re.findall(r"--what (\w+)", page.read_text(encoding="utf-8"))}
    assert {"infer", "memory"} <= asked <= offered


def test_the_components_in_the_yaml_files(root):
    """What the tool measures by default can be built from the files."""
    files = {path.stem: benchmarks.components(path.stem) for path in (root / "benchmarks").glob("*.yaml")}
    assert files.keys() >= {"train", "augment", "distill", "enhance", "infer", "files", "data"}
    for model in (model for part in ("infer", "files", "train") for model in files[part]["models"].values()):
        components.check(model["arch"], "arch", roles.NETWORK)
    for contender in files["infer"]["contenders"].values():
        assert contender["kind"] in KINDS
    for path in (files["data"]["config"], *(model["config"] for model in files["files"]["models"].values())):
        assert (root / path).is_file()
    for step in files["augment"]["transforms"].values():
        components.check(step, "augment.yaml", roles.TRANSFORM)
    components.check({"name": files["enhance"]["arch"]}, "arch", roles.NETWORK)
    for part in ("student", "teacher"):
        components.check(files["distill"][part], part, roles.NETWORK)
    components.check(files["distill"]["plain"], "plain", roles.CRITERION)


def test_nothing_is_imported_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert classify.in_a_process("ours", "default", 1, batch=1, size=32, steps=1, model=MODEL)["loss"] > 0


def test_a_failure_in_its_process_is_one_line():
    with pytest.raises(ConfigError, match=r"^benchmark of ours failed: .*ppvit.*no_such") as error:
        classify.in_a_process(
            "ours", "default", 1, batch=1, size=32, steps=1, model={"arch": {"name": "ppvit.no_such"}}
        )
    assert "\n" not in str(error.value)


def test_unknown_contender():
    with pytest.raises(ConfigError, match="did you mean 'paddleclas'"):
        classify.train({"m": MODEL}, ["paddelclas"], batch=1, size=16, steps=1, rounds=1, threads=1)


PIPELINE = {
    "crop": {"name": "ppcore.data.RandomResizedCrop", "size": 64},
    "flip": {"name": "ppcore.data.RandomHorizontalFlip"},
    "augment": {"name": "ppcore.data.RandAugment"},
    "normalize": {"name": "ppcore.data.Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "erase": {"name": "ppcore.data.RandomErasing", "prob": 0.5},
}


def test_augment_pipelines_make_the_same_images():
    """Image by image: what is compared in speed differs by resampling's few grey levels, not in what is done."""
    both, built = augment.pipelines(PIPELINE)
    levels = np.array(built[4].std)[:, None, None] * 255
    spent = np.zeros(6)
    for seed, jpeg in enumerate(augment.photographs(None)):
        ours, pillow = (augment.run_once(both[name], built, jpeg, seed, spent) for name in ("ours", "pillow"))
        assert ours.shape == pillow.shape == (3, 64, 64)
        assert ours.dtype == pillow.dtype == np.float32
        assert np.mean(np.abs(ours - pillow) * levels) < 10  # Equalize and AutoContrast magnify; 40 if not the same
    assert (spent > 0).all()


def test_augment_result():
    result = augment.augment(PIPELINE, augment.photographs(None)[:3], rounds=1)
    assert [row["pipeline"] for row in result["rows"]] == ["ours", "pillow"]
    for row in result["rows"]:
        assert 0 < row["lowest_round"] <= row["images_per_second"] <= row["highest_round"]
        assert row["images_per_second"] == pytest.approx(1000 / sum(row["milliseconds"].values()))
        assert set(row["milliseconds"]) == set(augment.STAGES)
    ours, pillow = (row["images_per_second"] for row in result["rows"])
    assert result["ratio"] == pytest.approx(ours / pillow)
    text = augment.table(result)
    assert f"{result['ratio']:.2f}×" in text
    assert "3 JPEGs of 500x375" in text


def test_augment_photographs(tmp_path):
    with pytest.raises(DataError, match="no JPEG"):
        augment.photographs(tmp_path)
    generator = np.random.default_rng(0)
    for number in range(3):
        (tmp_path / "class").mkdir(exist_ok=True)
        image = generator.integers(0, 256, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "class" / f"{number}.JPEG")
    jpegs = augment.photographs(tmp_path, limit=2)
    assert len(jpegs) == 2
    assert augment.decode_image(jpegs[0], "").shape == (375, 500, 3)


def test_augment_tool(tool, tmp_path):
    """From any working directory."""
    done = tool("benchmark", "--what", "augment", "--rounds", "1", "--json", tmp_path / "result.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["what"] == "augment"
    assert result["difference"] < 2
    assert tool("benchmark", "--what", "augment", "--data", tmp_path).stderr.startswith("error: --data")


def test_distill_measures_all_three_parts():
    sizes = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 10}
    net = {"widths": [8], "depths": [1], "group_width": 8, "stem_width": 8, "num_classes": 10}
    base = {"name": "ppcore.losses.CrossEntropy"}
    result = teacher_cost.distill(
        {"name": "ppdeit.DistilledVisionTransformer", **sizes},
        {"name": "ppdeit.RegNet", **net},
        {"name": "ppdeit.BothHeads", "base": base},
        {"name": "ppdeit.Distillation", "base": base, "teacher": {"name": "ppdeit.Teacher"}},
        batch=2,
        steps=3,
    )
    assert [row["part"] for row in result["rows"]] == list(teacher_cost.PARTS)
    assert all(0 < row["lowest"] <= row["milliseconds"] <= row["highest"] for row in result["rows"])
    assert np.isfinite(result["overhead"])
    assert "teacher's forward" in teacher_cost.table(result)


def test_the_tool_takes_what_it_says_it_measures(root, tool):
    """Every name at the head of its help, and every file of components."""
    done = tool("benchmark", "--help")
    assert done.returncode == 0, done.stderr
    choices = set(re.search(r"--what \{([a-z_,]+)\}", done.stdout)[1].split(","))
    described = set(re.findall(r"^([a-z_]+): ", done.stdout, flags=re.MULTILINE)) - {"usage"}
    assert described == choices == {path.stem for path in (root / "benchmarks").glob("*.yaml")}

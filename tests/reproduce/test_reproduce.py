"""The reproduce tool: what it checks, what it leaves out and says so, and its whole way."""

import json
import subprocess

import pytest
import yaml

from ppcore.report import load_paper
from ppcore.reproduce import fidelity_checks, reproduction
from ppcore.reproduce.launch import StepFailed
from ppcore.reproduce.paper_page import PaperPage, find_paper
from ppcore.reproduce.recipes import Recipe, Step


@pytest.fixture(scope="module")
def paper(root):
    return load_paper(root / "papers" / "vit.yaml")


@pytest.fixture(scope="module")
def root():
    from conftest import ROOT

    return ROOT


def test_fidelity_rows_pass_and_absent_data_is_said(paper, root, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    rows = fidelity_checks.fidelity_rows(paper, root)
    assert {row.level for row in rows} == {1, 2, 3, 4, 5}
    assert all(row.passed for row in rows if row.level < 5)
    trained = [row for row in rows if row.level == 5]
    assert [row.passed for row in trained] == [None]
    assert "PP_DATA_DIR is not set" in trained[0].note


def test_a_wrong_count_is_a_failed_row(paper, root, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    monkeypatch.setattr(fidelity_checks, "count_parameters", lambda builder: 1)
    first = fidelity_checks.fidelity_rows(paper, root)[0]
    assert first.passed is False
    assert "vit_tiny_patch16_224: 1 instead of 5,717,416" in first.note


ROOM = {"dataset": "digits", "test_images": 360, "expected": None, "spread": None, "seeds": None, "minutes": None}
SOURCE = {"ref": "paper", "where": "Table 3"}


@pytest.fixture
def made_up(root, tmp_path, tiny_config, monkeypatch):
    """A repository with one made-up paper: two quick configs of a distilled model, an ablation and an analysis."""
    monkeypatch.setattr(fidelity_checks, "fidelity_rows", lambda paper, root: [])
    (tmp_path / "repository" / "papers").mkdir(parents=True)
    (tmp_path / "repository" / "tools").symlink_to(root / "tools")
    text = tiny_config.read_text().replace("ppvit.VisionTransformer", "ppdeit.DistilledVisionTransformer")
    text = text.replace(
        "{name: ppcore.losses.CrossEntropy}", "{name: ppdeit.BothHeads, base: {name: ppcore.losses.CrossEntropy}}"
    )
    for name in ("one", "two"):
        (tmp_path / "repository" / f"{name}.yaml").write_text(text)

    def write(**changes) -> None:
        paper = yaml.safe_load((root / "papers" / "vit.yaml").read_text())
        paper["quick"] = [
            {"config": f"{name}.yaml", "run_seeds": [0, 1], "threads": 1, **ROOM, **changes} for name in ("one", "two")
        ]
        rows = [
            {"name": "first", "published": 70.0, "quick": ["one.yaml"]},
            {"name": "second", "published": 71.0, "quick": ["two.yaml"], "eval_options": ["Arch.eval_head=class"]},
        ]
        paper["ablations"] = [
            {"id": "c", "title": "C", "published_on": "p", "metric": "top1", "rows": rows, "source": SOURCE}
        ]
        paper["analyses"] = [
            {"id": "f", "title": "F", "measure": "ppdeit.tokens.token_cosine", "x": "layer", "y": "y", "source": SOURCE,
             "quick": ["one.yaml"], "published": [{"x": "last", "y": 0.93}]}
        ]  # fmt: skip
        (tmp_path / "repository" / "papers" / "made.yaml").write_text(yaml.safe_dump(paper, sort_keys=False))

    return write


def reproduced(tmp_path) -> dict:
    made = reproduction.Reproduction(find_paper("made", tmp_path / "repository"), tmp_path / "out", "cpu")
    page = made.quick()
    assert page == tmp_path / "out" / "report" / "index.html"
    return json.loads((tmp_path / "out" / "report" / "report.json").read_text())


def test_the_whole_way(made_up, tmp_path):
    made_up()
    data = reproduced(tmp_path)
    assert [run["name"] for run in data["runs"]] == ["one_seed0", "one_seed1", "two_seed0", "two_seed1"]
    first, second = (row["ours"][0] for row in data["ablations"][0]["rows"])
    trained = {run["name"]: run["numbers"]["top1"] for run in data["runs"]}
    assert {value["run"]: value["value"] for value in first["values"]} == {
        name: trained[name] for name in ("one_seed0", "one_seed1")
    }
    written = json.loads((tmp_path / "out" / "ablations.json").read_text())
    assert [100 * row["numbers"]["top1"] for row in written] == [value["value"] for value in second["values"]]
    assert [row["options"] for row in written] == [["Arch.eval_head=class"]] * 2
    curves = json.loads((tmp_path / "out" / "analyses.json").read_text())
    assert [row["run"] for row in curves] == ["one_seed0", "one_seed1"]
    mean = [sum(pair) / 2 for pair in zip(*(row["values"] for row in curves), strict=True)]
    assert data["analyses"][0]["curves"][0]["mean"] == pytest.approx(mean)
    assert data["analyses"][0]["published"] == [{"x": "last", "y": 0.93, "place": 2}]
    assert len(data["predictions"]) == 12
    assert data["predictions_note"] == "Classified by the run two_seed1."


def test_without_any_data_there_is_still_a_report(made_up, tmp_path, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    made_up(needs="something.npz")
    data = reproduced(tmp_path)
    assert data["runs"] == []
    assert {cell["why_none"] for row in data["ablations"][0]["rows"] for cell in row["ours"]} == {"not run"}
    assert data["analyses"][0]["curves"][0]["why_none"] == "not run"
    assert data["predictions"] == []
    assert data["predictions_note"] == "No images were classified: no training was run."
    assert json.loads((tmp_path / "out" / "ablations.json").read_text()) == []


def test_full_scale_trains_each_config_with_its_options_in_order(paper, root, monkeypatch):
    steps = (Step(("a.yaml", "over.yaml"), ("A.b=c d", "Global.output_dir=x")), Step(("b.yaml",), ()))
    wanted = Recipe("t", "r", 1.0, (), steps)
    ran = []

    def run(command, env):
        ran.append((command, env["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(command, 0 if "a.yaml" in str(command) else 2)

    monkeypatch.setattr(reproduction.subprocess, "run", run)
    monkeypatch.chdir(root)
    with pytest.raises(
        StepFailed, match=r"training b.yaml failed \(exit status 2\); repeat it with: OMP_NUM_THREADS="
    ) as error:
        reproduction._train(wanted, PaperPage(root / "papers" / "vit.yaml", paper, root, root / "tools"), "gpu", "0,1")
    (first, threads), (second, _) = ran
    assert first[1:6] == ["-m", "paddle.distributed.launch", "--log_dir", "output/launch", "--gpus"]
    assert first[-6:] == ["-o", "A.b=c d", "-o", "Global.output_dir=x", "-o", "Global.device=gpu"]
    assert first[first.index("-c") :][:4] == ["-c", "a.yaml", "-c", "over.yaml"]
    assert second[second.index("-c") + 1 :] == ["b.yaml", "-o", "Global.device=gpu"]
    assert threads.isdigit()
    assert str(error.value).endswith("tools/train.py -c b.yaml -o Global.device=gpu")

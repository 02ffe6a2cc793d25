"""A restoration network from training to report, and methods without weights, on made-up pairs."""

import json

import cv2
import numpy as np
import pytest
import yaml

from ppcore import config
from ppcore.engine import evaluate, evaluation_table, evaluators
from ppcore.engine.train import train
from ppcore.errors import ConfigError
from ppcore.metrics.spec import MetricSpec
from ppcore.reproduce import baseline_methods, fidelity_checks, qualitative, reproduction
from ppcore.reproduce.finished_runs import load_run
from ppcore.reproduce.paper_page import find_paper
from ppcore.reproduce.quick import QuickRun

CONFIG = """
Global: {{output_dir: {out}, duration: {{steps: 6}}, eval_every: {{steps: 3}}, log_every: {{steps: 1}}, visualdl: false}}
Arch: {{name: ppuhdfour.UHDFour, scale: 2, widths: [4, 4, 4]}}
Loss: {{name: ppuhdfour.UHDFourLoss, weighting: paper, perceptual: false}}
Optimizer:
  name: ppcore.optim.Adam
  lr: {{name: ppcore.schedules.Constant, base_lr: 1e-3}}
DataLoader:
  Train:
    dataset: {{name: ppcore.data.PairedFolder, root: {root}, split: [0, 4]}}
    transforms:
      crop: {{name: ppcore.data.PairedRandomCrop, size: 32}}
      to_float: {{name: ppcore.data.PairToFloat}}
    batch_size: 2
  Eval:
    dataset: {{name: ppcore.data.PairedFolder, root: {root}, split: [4, 6]}}
    transforms: {{to_float: {{name: ppcore.data.PairToFloat}}}}
    batch_size: 1
Metric: {{name: ppcore.metrics.ImageQuality, protocol: paper}}
Baselines:
  - {{name: ppllie.classical.Identity}}
  - {{name: ppllie.classical.Gamma, gamma: 2.0}}
"""


@pytest.fixture
def pairs(tmp_path):
    """Six pairs of odd sizes whose references are the square roots of the inputs: gamma 2 is their answer."""
    rng = np.random.default_rng(0)
    for name in ("input", "gt"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
    for i in range(6):
        low = cv2.resize(rng.random((6, 6, 3)).astype(np.float32), (41 + i, 37)) * 0.3
        for name, image in (("input", low), ("gt", np.sqrt(low))):
            cv2.imwrite(str(tmp_path / "pairs" / name / f"{i}.png"), np.rint(image * 255).astype(np.uint8))
    return tmp_path / "pairs"


@pytest.fixture
def written(pairs, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG.format(out=tmp_path / "run", root=pairs))
    return path


def test_training_is_judged_by_psnr_and_evaluated_as_eval_does(written, tmp_path):
    result = train(config.load(written))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [line["psnr"] for line in lines if line["kind"] == "eval"]
    assert result.best["psnr"] == max(scores)
    assert "SSIM on BT.601 luma" in lines[0]["metric"]
    assert lines[0]["metric"] in lines[0]["protocol"]
    found = evaluate.run(config.load(written), str(tmp_path / "run"))
    assert found["psnr"] == pytest.approx(scores[-1], abs=1e-6)
    assert found["method"] == "UHDFour"
    assert [row["method"] for row in found["baselines"]] == ["Identity", "Gamma(gamma=2.0)"]
    assert found["baselines"][1]["psnr"] > 40 > found["baselines"][0]["psnr"]
    table = evaluation_table.table(found, evaluators.metric_specs(config.load(written))).splitlines()
    assert table[0].split() == ["method", "PSNR", "dB", "SSIM", "images", "s/image"]
    assert "*" in table[3]
    assert "*" not in table[1] + table[2]


def test_a_method_without_weights_needs_none(written, tool):
    arch = ["-o", "Arch={name: ppllie.classical.Identity}"]
    done = tool("eval", "-c", written, *arch)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Identity") == 1, "Arch is not repeated beside itself"
    assert "protocol paper" in done.stdout
    assert done.stdout.splitlines()[-1] == "weights: none"
    done = tool("eval", "-c", written, *arch, "--weights", "some.pdparams")
    assert done.returncode == 2
    assert "has no weights: leave out --weights" in done.stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("Baselines=[{name: ppuhdfour.UHDFour, scale: 2, widths: [8, 4, 4]}]", "has weights"),
        ("Baselines=[{name: ppllie.classical.Gamma, gama: 2.0}]", "Baselines.0.gama"),
        ("Global.best_metric=top1", "the evaluation gives no 'top1'"),
    ],
)
def test_mistakes_are_one_line(written, option, words):
    def evaluated_and_trained():
        settings = config.load(written, [option])
        evaluate.baselines(settings)
        train(settings)

    with pytest.raises(ConfigError, match=words) as error:
        evaluated_and_trained()
    assert "\n" not in str(error.value)


def test_lower_is_better_where_it_is(written, tmp_path, monkeypatch):
    class Lpips:
        primary_metric = "lpips"
        specs = (MetricSpec("lpips", "LPIPS", "LPIPS", higher_is_better=False),)
        values = iter((0.7, 0.5, 0.2, 0.9))  # the first is of the look before training
        sums = np.zeros(1)

        def update(self, outputs, batch):
            pass

        def compute(self):
            return {"n": 2, "lpips": next(self.values)}

        def describe(self):
            return "LPIPS"

    Lpips.__module__ = "ppcore.metrics"
    monkeypatch.setattr("ppcore.metrics.Lpips", Lpips, raising=False)
    result = train(config.load(written, ["Global.eval_every={steps: 2}", "Metric={name: ppcore.metrics.Lpips}"]))
    assert result.best == {"step": 4, "lpips": 0.2, "weights": "model"}


def test_panels_are_input_best_other_ours_reference(written, tmp_path):
    train(config.load(written))
    runs = [QuickRun("tiny.yaml", 0, tmp_path / "run"), QuickRun("tiny.yaml", 1, tmp_path / "other")]
    [measured] = baseline_methods.measure(runs)
    assert (measured.run, len(measured.results)) == ("run", 2), "once for all seeds"
    grid = qualitative.image_grid(load_run(tmp_path / "run"), measured)
    assert (grid.run, [row.label for row in grid.rows]) == ("run", ["4", "5"])
    panels = grid.rows[0].panels
    assert [panel.caption.split(":")[0] for panel in panels] == ["input", "Gamma(gamma=2.0)", "UHDFour", "reference"]
    low = cv2.imread(str(tmp_path / "pairs" / "input" / "4.png"))[..., ::-1]
    np.testing.assert_array_equal(panels[0].image, low)
    np.testing.assert_array_equal(panels[3].image, cv2.imread(str(tmp_path / "pairs" / "gt" / "4.png"))[..., ::-1])
    assert panels[2].image.shape == low.shape


def test_the_whole_way_to_the_report(written, root, tmp_path, monkeypatch):
    monkeypatch.setattr(fidelity_checks, "fidelity_rows", lambda paper, root: [])
    (tmp_path / "repository" / "papers").mkdir(parents=True)
    (tmp_path / "repository" / "tools").symlink_to(root / "tools")
    (tmp_path / "repository" / "tiny.yaml").write_text(written.read_text())
    paper = yaml.safe_load((root / "papers" / "uhdfour.yaml").read_text())
    paper["quick"] = [paper["quick"][0] | {"config": "tiny.yaml", "run_seeds": [0, 1]}]
    for figure in paper["figures_drawn"]:
        figure["quick"] = ["tiny.yaml"]
    (tmp_path / "repository" / "papers" / "made.yaml").write_text(yaml.safe_dump(paper, sort_keys=False))
    made = reproduction.Reproduction(find_paper("made", tmp_path / "repository"), tmp_path / "out", "cpu")
    page = made.quick()
    data = json.loads((page.parent / "report.json").read_text())
    [table] = data["baselines"]
    assert table["seeds"] == [0, 1]
    assert table["best"]["method"] == "Gamma(gamma=2.0)"
    assert not table["better"]
    assert table["rows"][0]["numbers"]["psnr"]["value"] == pytest.approx(data["experiments"][0]["value"])
    assert [plate["name"] for plate in data["figures"]] == ["swap_tiny_seed0", "scales_tiny_seed0"]
    assert "Medians over 2 test pairs" in data["figures"][0]["text"]
    assert len(data["image_grids"][0]["rows"]) == 2
    assert data["predictions"] == []
    [written_down] = json.loads((tmp_path / "out" / "baselines.json").read_text())
    assert written_down["results"][1]["method"] == "Gamma(gamma=2.0)"

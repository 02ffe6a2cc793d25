"""UHDFour's configurations: the paper's networks, its ablations as overrides, and a training step of each."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppcore import config
from ppcore.config import components
from ppcore.engine import build
from ppcore.engine.run_folder import essentials
from ppcore.report import load_paper
from ppcore.reproduce.recipes import load_recipes

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs"
PAPER = load_paper(ROOT / "papers" / "uhdfour.yaml")
COUNTS = {item.builder: item.params for item in PAPER.architecture}
PAPERS_OWN = [FOLDER / "uhdfour" / f"{name}.yaml" for name in ("uhd_ll", "uhd_ll_paper", "lol_v1")]
QUICK = sorted(FOLDER.glob("quick/uhdfour_*.yaml"))
CLASSICAL = FOLDER / "uhdfour" / "classical.yaml"
SMALL = ["Arch.widths=[8, 8, 8]"]
ABLATIONS = [item for item in load_recipes(ROOT / "papers" / "uhdfour.yaml", PAPER) if item.table == "ablation"]


@cache
def load(path: Path, options: tuple[str, ...] = ()) -> config.Config:
    return config.load(path, options)


def parameters(loaded: config.Config) -> int:
    with paddle.LazyGuard():
        model = components.build({**loaded.Arch, "init": "torch"})  # which allocates nothing
    return sum(math.prod(p.shape) for p in model.parameters())


def test_none_is_forgotten():
    assert sorted(FOLDER.glob("uhdfour/*.yaml")) == sorted([*PAPERS_OWN, CLASSICAL])
    assert len(QUICK) == 2


class TestThePapersRows:
    @pytest.mark.parametrize("path", PAPERS_OWN, ids=lambda p: p.stem)
    def test_has_the_papers_network(self, path):
        loaded = load(path)
        builder = loaded.Arch["name"].rpartition(".")[2]
        assert parameters(loaded) == (22_913_370 if loaded.Arch.get("paper") else COUNTS[builder])

    def test_code_and_text_differ_where_they_differ(self):
        code, text = load(PAPERS_OWN[0]), load(PAPERS_OWN[1])
        old, new = essentials(dict(code.tree)), essentials(dict(text.tree))
        differ = {key: (old.get(key), new.get(key)) for key in {*old, *new} if old.get(key) != new.get(key)}
        assert differ == {
            "Arch.paper": (None, True),
            "Loss.weighting": ("code", "paper"),
            "DataLoader.Train.batch_size": (2, 6),
        }


def test_ablations_change_the_network_alone_and_each_otherwise():
    whole = load(PAPERS_OWN[0])
    counts, folders = [], set()
    for item in ABLATIONS:
        [step] = item.steps
        [file] = step.configs
        loaded = load(ROOT / file, step.options)
        same = {key: value for key, value in loaded.tree.items() if key not in ("Arch", "Global")}
        assert same == {key: value for key, value in whole.tree.items() if key not in ("Arch", "Global")}
        counts.append(parameters(loaded))
        folders.add(loaded.Global.output_dir)
    assert len({*counts, COUNTS["uhdfour"]}) == len(counts) + 1, counts
    assert len(folders) == len(ABLATIONS)


class TestQuick:
    @pytest.mark.parametrize("path", QUICK, ids=lambda p: p.stem)
    def test_is_small_and_says_what_its_images_are(self, path):
        loaded = load(path)
        assert parameters(loaded) < 1_000_000
        assert loaded.Loss["perceptual"] is False, "the suite has no VGG weights"
        [item] = [item for item in PAPER.quick if item.config.endswith(path.name)]
        assert "no camera took them" in item.note
        assert item.metric == "psnr"
        text = " ".join(path.read_text(encoding="utf-8").replace("#", "").split())
        assert "darkened" in text if "photographs" in path.stem else "computed" in text

    def test_test_images_are_not_trained_on(self, monkeypatch, real_data):
        monkeypatch.setenv("PP_DATA_DIR", str(real_data))
        for path in QUICK:
            data = load(path).DataLoader
            seen, held_out = ({*_names(part)} for part in (data.Train, data.Eval))
            assert seen
            assert held_out
            assert not seen & held_out
        assert (len(seen), len(held_out)) in ((40, 16), (5, 3))

    @pytest.mark.parametrize("path", QUICK, ids=lambda p: p.stem)
    def test_classical_methods_stand_beside(self, path):
        names = {node["name"].rpartition(".")[2] for node in load(path).Baselines}
        expected = {"Identity", "Gamma", "HistogramEqualization", "CLAHE", "DarkChannel", "Retinex", "LIME"}
        assert names == expected
        assert load(path).Baselines == load(CLASSICAL).Baselines


def _names(part) -> list[str]:
    images = components.build(part.dataset)
    return [images.load(i)["path"] for i in range(len(images))]


@pytest.mark.parametrize("path", [*PAPERS_OWN, *QUICK], ids=lambda p: p.stem)
def test_trains_at_tiny_scale(path):
    """Network, loss and metric of every configuration fit together: one step, one evaluation."""
    options = (*SMALL, "Loss.perceptual=false", "Loss.vgg_weights=null")
    loaded = load(path, options)
    paddle.seed(0)
    model = components.build(loaded.Arch)
    criterion = components.build(loaded.Loss)
    rng = np.random.default_rng(0)
    shape = (1, 3, 48, 64)
    low, target = (rng.random(shape, np.float32) * scale for scale in (0.3, 1.0))
    batch = {"image": low, "target": target, "index": np.array([0])}
    model.train()
    loss = criterion(model(paddle.to_tensor(low)), build.tensors(batch))
    loss.backward()
    assert np.isfinite(float(loss))
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert idle == set()
    model.eval()
    metric = components.build(loaded.Metric)
    with paddle.no_grad():
        metric.update(model(paddle.to_tensor(low)), batch)
    assert 0 < metric.compute()["psnr"] < 60
    assert build.metric_specs(loaded)[0].key == "psnr"

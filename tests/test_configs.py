"""Every YAML of the repository loads, builds, says what it is, and holds the papers' numbers."""

import re
import subprocess
from functools import cache
from pathlib import Path

import paddle
import pytest
from source_tree import PAPERS as OUR_PACKAGES

from ppcore import config
from ppcore.config import components, roles
from ppcore.metrics.of_images import OfImages
from ppcore.model import parameter_count, traits
from ppcore.report import load_paper
from ppcore.weights.fitting import fitting_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs"
EVERY = sorted(FOLDER.rglob("*.yaml"))
RUNNABLE = [path for path in EVERY if "_base_" not in path.parts]
PUBLISHED_WEIGHTS = [FOLDER / "vit" / "mnist_researchase.yaml"]  # evaluation only, of no paper's table
VIT = [path for path in sorted((FOLDER / "vit").glob("*.yaml")) if path not in PUBLISHED_WEIGHTS]
DEIT = [path for folder in ("deit", "deit3") for path in sorted((FOLDER / folder).glob("*.yaml"))]
PAPERS = {
    path.stem: load_paper(path)
    for path in sorted((ROOT / "papers").glob("*.yaml"))
    if not path.stem.endswith("_recipes")
}
COUNTS = {item.builder: item.params for paper in PAPERS.values() for item in paper.architecture}
# ViT-H/14 on pictures that are not whole patches: what the patches leave over is cut away.
CUT_BORDERS = {"in1k_huge_pretrain_160": {160, 154}, "in21k_huge_pretrain_128": {128, 126}}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def load(path: Path) -> config.Config:
    """The loaded file; it is read-only, so tests may share it."""
    return config.load(path)


@cache
def build(path: Path):
    """The file's model, without memory for its parameters."""
    with paddle.LazyGuard():
        return components.build(load(path).Arch)


def header(path: Path) -> list[str]:
    """The comment lines a file opens with, without their `# `."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def test_none_is_forgotten():
    listed = subprocess.run(["git", "ls-files", "configs"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert {path for path in listed if path.endswith(".yaml")} <= {label(path) for path in EVERY}
    for folder in (path for path in FOLDER.iterdir() if path.is_dir()):
        assert list(folder.rglob("*.yaml")), f"{folder.name} holds no configuration"
    assert len(RUNNABLE) >= 57


@pytest.mark.parametrize("path", EVERY, ids=label)
def test_opens_with_a_comment(path):
    assert header(path), "a file opens with what it is"
    assert all(len(line) > 10 for line in header(path))


def unlabelled(path: Path) -> bool:
    """Whether a task learns without `Loss`, which is what labels are for."""
    return load(path).Task is not None and load(path).Loss is None


def classifies(path: Path) -> bool:
    """Whether a configuration is of a classifier; those of networks that make images have tests of their own."""
    metrics = [components.resolve(node["name"], "Metric", roles.METRIC) for node in load(path).metrics()]
    images = any(isinstance(metric, type) and issubclass(metric, OfImages) for metric in metrics)
    return not images and not unlabelled(path)


def pipelines(split) -> list[list[dict]]:
    """The steps of a split's transforms; where they make views, those of each kind."""
    kinds = [kind for step in split.transforms.values() for kind in step.get("views", {}).values()]
    return [list(kind["transforms"].values()) for kind in kinds] or [list(split.transforms.values())]


@pytest.mark.parametrize("path", [path for path in RUNNABLE if classifies(path)], ids=label)
class TestClassifiers:
    def test_loads_and_its_model_builds(self, path):
        """A builder has the published count, and a file changes what depends on image and classes alone."""
        arch, model = load(path).Arch, build(path)
        package, _, builder = arch["name"].rpartition(".")
        assert package in OUR_PACKAGES
        if builder not in COUNTS:  # a class, in a size of no paper, for the quick configurations
            assert builder[0].isupper()
            assert parameter_count(model) < 3_000_000
            return
        with paddle.LazyGuard():
            usual = components.build({"name": arch["name"]})
        assert parameter_count(usual) == COUNTS[builder]
        ours, theirs = ({n: tuple(p.shape) for n, p in m.named_parameters()} for m in (model, usual))
        differ = {n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n)}
        heads = {n for n in differ if n.split(".")[0] in ("head", "head_dist", "pre_logits")}
        assert all(re.fullmatch(fitting_of(model).resampled, n) for n in differ - heads)
        outputs = {ours[n][-1] for n in ours if re.fullmatch(r"head(_dist)?(\.fc|\.1)?\.(weight|bias)", n)}
        assert outputs == {arch["num_classes"]}
        if "img_size" in arch:
            assert traits(model).img_size == (arch["img_size"],) * 2

    def test_pictures_have_the_models_size(self, path):
        loaded = load(path)
        splits = [split for split in (loaded.DataLoader.Train, loaded.DataLoader.Eval) if split]
        assert len(splits) == (1 if path in PUBLISHED_WEIGHTS else 2)
        model, seen, normalize = build(path), set(), []
        for split, steps in [(one, steps) for one in splits for steps in pipelines(one)]:
            names = [t["name"].rpartition(".")[2] for t in steps]
            crops = ("RandomResizedCrop", "RandomCrop", "CenterCrop")
            sizes = [t["size"] for t, name in zip(steps, names, strict=True) if name in crops]
            sizes += [t["size"][0] for t in steps if isinstance(t.get("size"), list)]
            # A convolutional network takes any size: then all its pictures have one.
            size = model.patch_embed.img_size[0] if hasattr(model, "patch_embed") else (sizes or [None])[0]
            assert set(sizes) <= CUT_BORDERS.get(path.stem, {size}), sizes
            assert sizes[-1:] in ([], [size])
            small = ("Digits", "Cifar10Jpeg", "MnistIdx", "Cifar10", "Cifar100")
            assert sizes or {split.dataset["name"].rpartition(".")[2], split.dataset.get("dataset")} & {*small}
            seen |= {size} - {None}
            if "ppcore.data.Normalize" not in {
                t["name"] for t in steps
            }:  # the last step makes the network's input itself
                assert components.resolve(steps[-1]["name"], "transforms").on_sample
                continue
            [at] = [i for i, t in enumerate(steps) if t["name"] == "ppcore.data.Normalize"]
            after = {t["name"] for t in steps[at + 1 :]}
            assert after <= ({"ppcore.data.RandomErasing"} if split is loaded.DataLoader.Train else set())
            normalize.append(steps[at])
        assert len(seen) <= 1, "one size in training and evaluation"
        assert normalize[:1] == normalize[-1:]


@pytest.mark.parametrize("path", [path for path in RUNNABLE if unlabelled(path)], ids=label)
def test_a_network_without_labels_has_its_published_count(path):
    builder = load(path).Arch["name"].rpartition(".")[2]
    if builder in COUNTS:
        assert parameter_count(build(path)) == COUNTS[builder]


@pytest.mark.parametrize("path", RUNNABLE, ids=label)
class TestEvery:
    def test_header(self, path):
        lines = header(path)
        text = "\n".join(lines)
        known = [word for paper in PAPERS.values() for word in (paper.paper.short, paper.paper.arxiv) if word]
        assert any(word in text for word in known) or re.search(r"arXiv \d{4}\.\d{5}", text), "the paper, or what it is"
        tool = "tools/eval.py" if load(path).DataLoader.Train is None else "tools/train.py"
        commands = [line for line in lines if tool in line]
        assert len(commands) >= 1, "a command"
        named = re.findall(r"-c (\S+)", text)
        assert named == [label(path)], f"the command names {named}"
        assert re.search(r"[Hh]ours?|[Mm]inutes?|seconds", text), "how long on which hardware"
        assert any(line.startswith("Expected") for line in lines), "what to expect"

    def test_it_is_a_delta(self, path):
        if path not in VIT + DEIT:
            return
        body = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        assert 3 <= len(body) <= 15

    def test_writes_to_a_folder_of_its_own(self, path):
        named = label(path).removeprefix("configs/").removesuffix(".yaml")
        if {"quick", "templates"} & set(path.parts):
            named = path.stem
        assert load(path).Global.output_dir == f"output/{named}"


def test_no_two_write_to_the_same_folder():
    folders = [load(path).Global.output_dir for path in RUNNABLE]
    assert len(set(folders)) == len(folders)


def test_the_papers_and_the_folder_name_the_same_quick_configurations():
    """One that two papers compare themselves with stands in both, with the same expectations."""
    named = {}
    for paper in PAPERS.values():
        for item in paper.quick:
            assert named.setdefault(item.config, item) == item
    assert set(named) == {label(path) for path in FOLDER.glob("quick/*.yaml")}

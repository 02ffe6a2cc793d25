"""A paper's page outside the repository, of a package that the suite has never heard of."""

import json
import shutil

import pytest

from ppcore.errors import ConfigError
from ppcore.reproduce.paper_page import find_paper

PAGE = """
paper: {key: toys, short: Toys, title: "Brighter discs", authors: "N. N.", venue: "nowhere", url: "https://example.org"}
metrics:
  - {key: psnr, name: PSNR, title: PSNR, unit: dB, digits: 2, higher_is_better: true}
  - {key: knn, name: k-NN, title: "k-NN accuracy", unit: "%", factor: 100, digits: 1, higher_is_better: true}
sources: {paper: {title: "N. N.", url: "https://example.org"}}
datasets: {discs: {title: Discs, test_images: 24, classes: null, loaders: [{name: toyland.Discs}]}}
primary_dataset: discs
architecture: [{builder: Brighten, params: 459, source: {ref: paper, where: "section 2"}}]
tables:
  - id: table1
    short: "Table 1"
    title: "Discs"
    metric: psnr
    protocol: "24 discs"
    source: {ref: paper, where: "Table 1"}
    at_a_glance: true
    columns: [{name: Discs, dataset: discs}]
    rows: [{name: Brighten, builder: Brighten, values: [30.0]}]
peers: []
quick:
  - {config: configs/adversarial.yaml, dataset: discs, threads: 1, test_images: 24, expected: null, spread: null, seeds: null, minutes: null}
  - {config: configs/self_distillation.yaml, dataset: discs, threads: 1, metric: knn, test_images: 24, expected: null, spread: null, seeds: null, minutes: null}
"""

RECIPES = """
output: whole
runs: {brighten: {configs: [configs/adversarial.yaml]}}
rows: {table1: {Brighten: {published: 30.0, run: brighten}}}
"""


@pytest.fixture
def page(tmp_path, root):
    """`my/toys.yaml` with its recipes beside it and its configurations below it."""
    (tmp_path / "my" / "configs").mkdir(parents=True)
    for name in ("adversarial", "self_distillation"):
        shutil.copy(root / "tests" / "stranger" / f"{name}.yaml", tmp_path / "my" / "configs")
    (tmp_path / "my" / "toys.yaml").write_text(PAGE)
    (tmp_path / "my" / "toys_recipes.yaml").write_text(RECIPES)
    return tmp_path / "my" / "toys.yaml"


@pytest.fixture
def reproduce(tool, root, tmp_path):
    def call(*arguments):
        return tool("reproduce", *arguments, path=(root / "tests" / "stranger",), cwd=tmp_path)

    return call


@pytest.mark.slow  # tests/test_own_package.py goes a shorter one
def test_the_whole_way(page, reproduce, tmp_path):
    done = reproduce("my/toys.yaml", "--allow", "toyland", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    report = tmp_path / "output" / "reproduce" / "toys" / "report"
    assert done.stdout.endswith(f"Open the report: {report.relative_to(tmp_path) / 'index.html'}\n")
    data = json.loads((report / "report.json").read_text())
    assert [run["name"] for run in data["runs"]] == ["adversarial_seed0", "self_distillation_seed0"]
    [counted] = data["fidelity"]["levels"][0]["rows"]
    assert counted["measured"] == "1 of 1 equal"
    assert [bool(item["ours"]) for item in data["expected"]] == [True, True], "runs are found by the page's own names"
    assert data["published_vs_ours"][0]["published"] == 30.0
    assert "Embedding, the network of self_distillation_seed0, gives no classes" in data["predictions_note"]
    again = reproduce("my/toys.yaml", "--allow", "toyland", "--device", "cpu")
    assert again.stderr.count("kept:") == 2


def test_a_row_at_full_scale(page, reproduce, tmp_path):
    done = reproduce("my/toys.yaml", "--allow", "toyland", "--scale", "full", "--row", "Brighten", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "whole" / "brighten" / "metrics.jsonl").is_file()
    data = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert len(data["image_grids"][0]["rows"]) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["my/absent.yaml"], "my/absent.yaml: cannot be read"),
        (["my/toys.yaml"], "--allow PACKAGE"),
        (["toys"], "or the path of a paper's .yaml"),
        (["my/toys.yaml", "--allow", "toylnd"], "--allow toylnd: no such package"),
        (["my/toys.yaml", "--allow", "toyland", "--scale", "full", "--row", "Brigten"], "did you mean 'Brighten'"),
    ],
)
def test_mistakes_are_one_line(page, reproduce, arguments, words):
    done = reproduce(*arguments)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if "OMP_NUM_THREADS" not in line]  # what Paddle says
    assert words in line


def test_names_and_paths(page, root, tmp_path):
    ours = find_paper("vit", root)
    assert (ours.name, ours.root, ours.tools) == ("vit", root, root / "tools")
    assert find_paper(str(root / "papers" / "vit.yaml"), root) == ours
    theirs = find_paper(str(page), root)
    assert (theirs.name, theirs.root, theirs.tools) == ("toys", tmp_path / "my", root / "tools")
    with pytest.raises(ConfigError, match=r"no paper 'vti' \(did you mean 'vit'\?\)") as error:
        find_paper("vti", root)
    assert "_recipes" not in str(error.value)

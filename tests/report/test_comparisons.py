"""The schema of quick configs that use others, ablations and analyses, against mistakes."""

import copy
from pathlib import Path

import pytest
import yaml

from ppcore.errors import ConfigError
from ppcore.report import load_paper

VIT = yaml.safe_load((Path(__file__).parents[2] / "papers" / "vit.yaml").read_text())
ROOM = {"test_images": 10, "expected": None, "spread": None, "seeds": None, "minutes": None}
QUICK = [
    {"config": "quick/teacher.yaml", "dataset": "digits", "run_seeds": [4, 5], "threads": 1, **ROOM},
    {
        "config": "quick/plain.yaml",
        "dataset": "digits",
        "uses": {"Loss.teacher.weights": "quick/teacher.yaml"},
        **ROOM,
    },
    {"config": "quick/hard.yaml", "dataset": "digits", **ROOM},
    {"config": "quick/hard_cifar.yaml", "dataset": "cifar", **ROOM},
]
ABLATION = {
    "id": "table3",
    "title": "Distillation",
    "published_on": "ImageNet",
    "metric": "top1",
    "source": {"ref": "paper", "where": "Table 3"},
    "rows": [
        {"name": "none", "published": 72.2, "quick": ["quick/plain.yaml"]},
        {"name": "hard", "published": None, "quick": ["quick/hard.yaml", "quick/hard_cifar.yaml"]},
        {"name": "other head", "published": 74.0, "quick": ["quick/hard.yaml"], "eval_options": ["Arch.head=class"]},
    ],
}
ANALYSIS = {
    "id": "tokens",
    "title": "Tokens",
    "measure": "ppdeit.tokens.token_cosine",
    "x": "layer",
    "y": "cosine",
    "source": {"ref": "paper", "where": "Section 4"},
    "published": [{"x": "first", "y": 0.06}, {"x": "last", "y": 0.93}, {"x": 3, "y": 0.5}],
    "quick": ["quick/hard.yaml"],
}


def tree() -> dict:
    return copy.deepcopy({**VIT, "quick": QUICK, "ablations": [ABLATION], "analyses": [ANALYSIS]})


def loaded(tmp_path, data: dict):
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_paper(path)


def test_what_is_not_given_is_empty():
    paper = load_paper(Path(__file__).parents[2] / "papers" / "vit.yaml")
    assert paper.ablations == []
    assert paper.analyses == []
    assert all(item.uses == {} for item in paper.quick)


def test_a_whole_paper_with_them_is_read(tmp_path):
    paper = loaded(tmp_path, tree())
    assert paper.quick[1].uses == {"Loss.teacher.weights": "quick/teacher.yaml"}
    assert paper.quick[0].run_name(5) == "teacher_seed5"
    assert [row.published for row in paper.ablations[0].rows] == [72.2, None, 74.0]
    assert paper.ablations[0].rows[2].eval_options == ["Arch.head=class"]
    assert [point.place(12) for point in paper.analyses[0].published] == [0, 12, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["quick"][1]["uses"].update({"Loss.teacher.weights": "quick/teachr.yaml"}),
         ["quick/plain.yaml", "did you mean 'quick/teacher.yaml'"]),
        (lambda d: d["quick"][0].update(uses={"A.b": "quick/plain.yaml"}), ["not a quick config before it"]),
        (lambda d: d["quick"][1].update(uses={"A.b": "quick/plain.yaml"}), ["not a quick config before it"]),
        (lambda d: d["quick"][1].update(uses={"weights": "quick/teacher.yaml"}), ["quick.1.uses", "Section.key"]),
        (lambda d: d["quick"][1].update(config="other/teacher.yaml"), ["into the same folder"]),
        (lambda d: d["quick"][0].update(run_seeds=[]), ["quick.0.run_seeds"]),
        (lambda d: d["quick"][0].update(threads=0), ["quick.0.threads"]),
        (lambda d: d["ablations"][0]["rows"][0].update(quick=["quick/plane.yaml"]),
         ["ablation 'table3', row 'none'", "did you mean 'quick/plain.yaml'"]),
        (lambda d: d["ablations"][0]["rows"][0].update(quick=["quick/plain.yaml", "quick/hard.yaml"]),
         ["two configs on 'digits'"]),
        (lambda d: d["ablations"][0]["rows"][1].update(name="none"), ["two rows have this name"]),
        (lambda d: d["ablations"][0]["rows"][1].update(eval_options=["Arch.head class"]),
         ["ablations.0.rows.1.eval_options.0", "Section.key=value"]),
        (lambda d: d["ablations"][0]["rows"][1].update(publishd=1.0), ["ablations.0.rows.1.publishd", "unknown key"]),
        (lambda d: d["ablations"][0]["rows"][1].pop("published"), ["ablations.0.rows.1.published"]),
        (lambda d: d["ablations"][0].update(metric="top-1"), ["metric 'top-1' is not in metrics", "did you mean 'top1'"]),
        (lambda d: d["ablations"][0].update(id="Table 3"), ["ablations.0.id"]),
        (lambda d: d["ablations"][0].update(rows=d["ablations"][0]["rows"][:1]), ["ablations.0.rows"]),
        (lambda d: d["ablations"].append(d["ablations"][0]), ["id 'table3' is used twice"]),
        (lambda d: d["ablations"][0]["source"].update(ref="papr"), ["papr", "did you mean 'paper'"]),
        (lambda d: d["analyses"][0]["source"].update(ref="papr"), ["papr", "did you mean 'paper'"]),
        (lambda d: d["analyses"][0].update(quick=["quick/hart.yaml"]),
         ["analysis 'tokens'", "did you mean 'quick/hard.yaml'"]),
        (lambda d: d["analyses"][0].update(quick=[]), ["analyses.0.quick"]),
        (lambda d: d["analyses"][0].update(measure="token_cosine"), ["analyses.0.measure"]),
        (lambda d: d["analyses"][0]["published"][0].update(x="start"),
         ["analyses.0.published.0.x", "first, last or the number of a layer, got 'start'"]),
        (lambda d: d["analyses"][0]["published"][0].update(x=-1), ["analyses.0.published.0.x"]),
        (lambda d: d["analyses"][0]["published"][0].update(x=True), ["analyses.0.published.0.x"]),
        (lambda d: d["analyses"].append(d["analyses"][0]), ["id 'tokens' is used twice"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(tmp_path, change, words):
    data = tree()
    change(data)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, data)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "paper.yaml"))
    assert "\n" not in message
    for word in words:
        assert word in message

"""Reading run folders: whole, cut, resumed, damaged."""

import json
from dataclasses import asdict

import fabricate
import pytest
from page import Page

from ppcore.errors import PPError
from ppcore.metrics import MetricSpec
from ppcore.report import ReportContent, read_run, write_report


def test_a_whole_run(tmp_path):
    run = read_run(fabricate.write_run(tmp_path / "whole", fabricate.records(top1=0.9)))
    assert (run.name, run.seed, run.builder) == ("whole", 0, "VisionTransformer")
    assert [record["step"] for record in run.train] == list(range(5, 401, 5))
    assert len(run.evals) == 20
    assert run.result["weights"] == "ema"
    assert run.result["step"] == 400
    assert run.result["top1"] == pytest.approx(0.91)
    assert run.seconds == pytest.approx(41)
    assert run.resumed == 0
    assert run.end
    assert not run.notes


def test_the_result_is_the_last_evaluation_not_the_best(tmp_path):
    lines = fabricate.records(top1=0.9)
    lines[-2] = {**lines[-2], "top1": 0.5}
    run = read_run(fabricate.write_run(tmp_path / "run", lines))
    assert run.result["top1"] == 0.5
    assert run.best["top1"] > 0.88


def test_without_ema_the_model_is_the_result(tmp_path):
    lines = [line for line in fabricate.records(top1=0.9) if line.get("weights") != "ema"]
    assert read_run(fabricate.write_run(tmp_path / "run", lines)).result["top1"] == pytest.approx(0.9)


def test_a_cut_last_line_is_dropped_and_noted(tmp_path):
    lines = fabricate.records(stop=200)
    run = read_run(fabricate.write_run(tmp_path / "cut", lines, tail='{"kind": "train", "step": 205, "lo'))
    assert run.train[-1]["step"] == 200
    assert run.end is None
    assert "cut" in run.notes[0]


@pytest.mark.parametrize("glued", [False, True])
def test_a_resumed_run_forgets_what_was_done_again(tmp_path, glued):
    """Killed at step 200, resumed from the checkpoint of step 100; the first process had logged up to 200."""
    first = fabricate.records(seed=0, stop=200)
    second = [line for line in fabricate.records(seed=1) if line["kind"] == "end" or line["step"] > 100]
    second = [{**line, "time": line["time"] + 5000} for line in second]
    start = {**first[0], "step": 100, "time": 6005.0}
    folder = fabricate.write_run(tmp_path / "resumed", first)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "step": 205, "time": 10' + ("" if glued else "\n"))
        file.writelines(json.dumps(line) + "\n" for line in [start, *second])
    run = read_run(folder)
    expected = {line["step"]: line["loss"] for line in first if line["kind"] == "train" and line["step"] <= 100}
    expected |= {line["step"]: line["loss"] for line in second if line["kind"] == "train"}
    assert {record["step"]: record["loss"] for record in run.train} == expected
    assert run.resumed == 1
    assert run.end
    assert len(run.notes) == 1
    assert run.seconds == pytest.approx(20 + (6041 - 6005))  # the pause between the two is not training time


def test_a_resumed_run_that_stopped_early_shows_no_later_step(tmp_path):
    lines = fabricate.records(stop=200)
    run = read_run(fabricate.write_run(tmp_path / "run", [*lines, {**lines[0], "step": 100, "time": 2000.0}]))
    assert run.train[-1]["step"] == 100
    assert run.evals[-1]["step"] <= 100


@pytest.mark.parametrize("name", ["config.yaml", "env.json", "metrics.jsonl"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = fabricate.write_run(tmp_path / "run", fabricate.records())
    (folder / name).unlink()
    with pytest.raises(PPError) as error:
        read_run(folder)
    assert name in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def damage(folder, line_number, text):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[line_number - 1] = text
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("line_number", "text", "message"),
    [
        (7, '{"kind": "tra', "line 7 is damaged"),
        (7, "[1, 2]", "line 7 is damaged"),
        (7, '{"kind": "train", "step": 30, "epoch": 1, "time": 1.0, "lr": 0.1}', "line 7: train.loss: Field required"),
        (7, '{"kind": "banana", "step": 30}', "line 7: Input tag 'banana'"),
        (7, '{"kind": ["train"], "step": 30}', "line 7: Input tag '['train']'"),
        (
            1,
            '{"kind": "train", "step": 5, "epoch": 0.1, "time": 1.0, "lr": 0.1, "loss": 1.0}',
            "the first record is not a 'start'",
        ),
    ],
)
def test_damage_in_the_middle_is_an_error_with_its_line(tmp_path, line_number, text, message):
    folder = fabricate.write_run(tmp_path / "run", fabricate.records())
    damage(folder, line_number, text)
    with pytest.raises(PPError) as error:
        read_run(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"), [("config.yaml", "a: [1"), ("config.yaml", "- 1"), ("env.json", "{"), ("env.json", "[]")]
)
def test_unreadable_side_files(tmp_path, name, text):
    folder = fabricate.write_run(tmp_path / "run", fabricate.records())
    (folder / name).write_text(text)
    with pytest.raises(PPError, match=name) as error:
        read_run(folder)
    assert "\n" not in str(error.value)


def test_no_folder_and_an_empty_log(tmp_path):
    with pytest.raises(PPError, match="no such run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(PPError, match="never started"):
        read_run(fabricate.write_run(tmp_path / "empty", []))


def test_a_command_recorded_as_words_is_quoted(tmp_path):
    env = {"command": ["python", "tools/train.py", "-o", "Global.output_dir=two words"]}
    run = read_run(fabricate.write_run(tmp_path / "run", fabricate.records(), env=env))
    assert run.command == "python tools/train.py -o 'Global.output_dir=two words'"


DISTANCE = MetricSpec(
    "distance", "Distance", "distance to the truth", "mm", factor=1000, digits=1, higher_is_better=False
)


def own_metric() -> list[dict]:
    """A history whose evaluations give a number that nobody else knows, 3 mm at first and 1 mm more at every other."""
    lines = fabricate.records()
    lines[0]["metrics"] = [asdict(DISTANCE)]
    evals = [line for line in lines if line["kind"] == "eval"]
    for number, line in enumerate(evals):
        line |= {"top1": None, "top5": None, "distance": 0.003 + 0.001 * number}
    return lines


def test_a_run_brings_its_own_metrics(tmp_path):
    run = read_run(fabricate.write_run(tmp_path / "run", own_metric()))
    assert run.primary_metric == DISTANCE
    assert run.best["distance"] == 0.003, "the smallest, as its spec says"
    assert run.written(run.best) == {"distance": 3.0}
    write_report(tmp_path / "report", ReportContent("Made up", runs=[run]))
    page = Page((tmp_path / "report" / "index.html").read_text())
    for words in ("22.0 mm", "Distance to the truth by epoch", "Best of all evaluations: 3.0 mm"):
        assert words in page.text, words
    assert "op-1" not in page.text
    assert (tmp_path / "report" / "pictures" / "distance.svg").is_file()


def test_a_run_that_measures_nothing_is_reported(tmp_path):
    lines = [line for line in fabricate.records() if line["kind"] != "eval"]
    lines[0]["metrics"] = []
    run = read_run(fabricate.write_run(tmp_path / "run", lines))
    assert run.result is None
    index = write_report(tmp_path / "report", ReportContent("Made up", runs=[run]))
    assert "not evaluated yet" in Page(index.read_text()).text


@pytest.mark.parametrize(
    ("recorded", "same"),
    [
        ("configs/quick/made_up.yaml", True),
        ("/somewhere/configs/quick/made_up.yaml", True),
        ("other_configs/quick/made_up.yaml", False),
        ("made_up.yaml", False),
        (None, False),
    ],
)
def test_a_run_belongs_to_the_configuration_it_records(tmp_path, recorded, same):
    run = read_run(fabricate.write_run(tmp_path / "run", fabricate.records(), env={"config": recorded}))
    assert run.trained_with("configs/quick/made_up.yaml") is same

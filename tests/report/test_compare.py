"""tools/compare.py and the exit statuses every tool shares."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import fabricate
import pytest
import yaml

from ppcore import cli
from ppcore.errors import PPError

ROOT = Path(__file__).parents[2]


def compare(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tools" / "compare.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )


def test_two_runs_become_one_report(tmp_path):
    runs = [fabricate.write_run(tmp_path / name, fabricate.records(seed=seed)) for seed, name in enumerate("ab")]
    done = compare(*runs, "-o", tmp_path / "report", "--paper", ROOT / "papers" / "vit.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(tmp_path / "report" / "index.html")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "91.00" in page
    assert "<h1>Comparison of runs</h1>" in page
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "index.html",
        "report.md",
        "report.json",
        "pictures",
    }


def test_a_mistake_is_one_line_and_exit_2(tmp_path):
    done = compare(tmp_path / "nowhere", "-o", tmp_path / "report")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "nowhere: no such run folder" in done.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}"], "required: -o/--output"),
        (["-o", "{tmp}/r"], "required: RUN"),
        (["{run}", "-o", "{tmp}/r", "--papr", "x"], "unrecognized arguments: --papr"),
        (["{run}", "-o", "{tmp}/r", "--paper", "{tmp}/bad.yaml"], "bad.yaml: papr: unknown key"),
        (["{run}", "-o", "{tmp}/r", "--paper", "{tmp}/none.yaml"], "none.yaml: cannot be read"),
        (["{run}", "-o", "{tmp}/r", "--fidelity", "{tmp}/bad.yaml"], "bad.yaml: not valid JSON"),
        (["{run}", "{tmp}", "-o", "{tmp}/r"], "not a run folder"),
    ],
)
def test_every_mistake_has_its_line(tmp_path, monkeypatch, capsys, arguments, words):
    """In this process, as importing takes longer than everything else."""
    run = fabricate.write_run(tmp_path / "run", fabricate.records())
    bad = yaml.safe_load((ROOT / "papers" / "vit.yaml").read_text()) | {"papr": 1}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(bad))
    monkeypatch.syspath_prepend(ROOT / "tools")  # as Python does for a script
    monkeypatch.setattr(sys, "argv", ["compare.py", *(text.format(run=run, tmp=tmp_path) for text in arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools" / "compare.py"), run_name="__main__")
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "r").exists()


def status(main) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    return stop.value.code


def test_statuses(capsys):
    def fail():
        raise PPError("the thing is missing")

    def interrupt():
        raise KeyboardInterrupt

    assert status(lambda: None) == 0
    assert status(lambda: 3) == 3
    assert status(fail) == 2
    assert capsys.readouterr().err == "error: the thing is missing\n"
    assert status(interrupt) == 130


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0)


def test_a_reader_that_leaves_is_no_error():
    code = "from ppcore import cli\ncli.run(lambda: print('x\\n' * 1_000_000))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()

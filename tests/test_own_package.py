"""docs/own_package.md: its files written into an empty folder, its commands run there."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "own_package.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE, flags=re.S | re.M)
COMMANDS = [
    line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.S | re.M) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, and nothing else."""
    found = tmp_path_factory.mktemp("somewhere")
    for name, text in FILES:
        (found / name).parent.mkdir(exist_ok=True)
        (found / name).write_text(text, encoding="utf-8")
    return found


def run(folder, command: str) -> str:
    variables = {**os.environ, "SUITE": str(ROOT), "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    command = command.replace("PYTHONPATH=.", f"PYTHONPATH=.:{ROOT}")  # which here is perhaps not the installed one
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_one_command_trains_and_reports(folder):
    assert [name for name, _ in FILES] == ["mine/__init__.py", "stripes.yaml", "stripes_paper.yaml"]
    run(folder, COMMANDS[0])
    report = json.loads((folder / "output/reproduce/stripes_paper/report/report.json").read_text())
    [result] = report["experiments"]
    assert result["value"] > 90
    assert len(result["runs"]) == 2
    first, second = report["published_vs_ours"]
    assert [first["published"], second["published"]] == [98.4] * 2
    assert (first["ours"] + second["ours"]) / 2 == pytest.approx(result["value"])


def test_every_other_tool_takes_the_same_configuration(folder):
    train, evaluate, export = COMMANDS[1:]
    run(folder, train)
    result = json.loads(run(folder, evaluate))
    assert result["top1"] > 0.9
    assert "Stripes(count=64" in result["protocol"]
    run(folder, export)
    assert (folder / "output/stripes/export/manifest.json").is_file()

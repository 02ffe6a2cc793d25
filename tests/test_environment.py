"""Outside the environment that make sets up, every tool says how to get into it."""

import ast
import importlib.metadata
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py"))
HELPERS = {"environment", "gpu_setup"}  # gpu_setup is for before anything is installed


@pytest.fixture
def checkout(tmp_path):
    """The tools and setup.py in a repository without packages and without an environment."""
    shutil.copytree(ROOT / "tools", tmp_path / "repo" / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.py", tmp_path / "repo")
    return tmp_path / "repo"


def bare(checkout, tool: str, *paths: Path) -> subprocess.CompletedProcess:
    """Runs a tool with Python's own library and these paths, from another folder."""
    elsewhere = checkout.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-S", str(checkout / "tools" / f"{tool}.py"), "--help"],
        env={"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""}, cwd=elsewhere,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def stubs(folder: Path, *without: str) -> Path:
    """A folder with an empty package for everything that is needed, but for some."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from environment import needed
    finally:
        sys.path.remove(str(ROOT / "tools"))
    for name in set(needed()) - set(without):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    return folder


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - HELPERS))
def test_nothing_installed_is_one_line_with_the_command(checkout, tool):
    done = bare(checkout, tool)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ppcore, paddle, numpy and ")
    assert f"make -C {checkout} .venv/installed && . {checkout}/.venv/bin/activate" in done.stderr


def test_an_environment_that_is_there_is_named(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "installed").touch()
    said = bare(checkout, "infer").stderr
    assert f"use the environment that make has made: . {checkout}/.venv/bin/activate" in said
    assert "make -C" not in said


@pytest.mark.parametrize(
    ("without", "words"),
    [
        (("paddle",), "error: paddle is not installed for "),
        (("omegaconf", "cv2"), "error: cv2, omegaconf are not installed for "),
        (("ppcore",), "error: ppcore is not installed for "),
    ],
)
def test_what_is_missing_is_named(checkout, without, words):
    done = bare(checkout, "train", stubs(checkout.parent / "stubs", *without))
    assert done.returncode == 2
    assert done.stderr.startswith(words)


def test_an_old_python_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools" / "environment.py"))
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: Python 3.9 is too old, the suite needs 3.11; ")


def test_every_tool_imports_it_before_anything_that_must_be_installed():
    for tool in set(TOOLS) - HELPERS:
        tree = ast.parse((ROOT / "tools" / f"{tool}.py").read_text())
        names = [
            node.names[0].name if isinstance(node, ast.Import) else node.module
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        installed = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
        assert installed[0] == "environment", tool


def test_everything_that_setup_declares_is_asked_for(tmp_path):
    declared = re.search(r"install_requires=\[(.*?)\]", (ROOT / "setup.py").read_text(), flags=re.DOTALL).group(1)
    wanted = {name.lower().replace("_", "-") for name in re.findall(r'"([A-Za-z0-9_.-]+?)[<>=!~]', declared)}
    needed = {path.name for path in stubs(tmp_path / "stubs").iterdir()}
    given = importlib.metadata.packages_distributions()
    found = {name.lower().replace("_", "-") for module in needed for name in given.get(module, ())}
    assert len(wanted) > 10
    assert wanted <= found

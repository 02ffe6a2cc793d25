"""Everything the packages and tools import is declared in setup.py, so that `pip install` brings it."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
FILES = sorted(path for name in (*OURS, "tools") for path in (ROOT / name).rglob("*.py"))
# Extras that a module may need (`reference`: the peers of the benchmarks); the tests' may not be imported.
OPTIONAL = {"cpu", "cpu26", "gpu", "paddleclas", "deploy", "keras", "reference"}


def declared() -> tuple[set[str], dict[str, set[str]]]:
    """Distributions that `pip install` always brings, and those of each extra."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    [call] = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"]
    keywords = {word.arg: word.value for word in call.keywords}

    def names(requirements: list[str]) -> set[str]:
        return {canonicalize_name(Requirement(text).name) for text in requirements}

    extras = ast.literal_eval(keywords["extras_require"])
    return names(ast.literal_eval(keywords["install_requires"])), {key: names(value) for key, value in extras.items()}


def imported(path: Path) -> set[str]:
    """Packages of others that a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    beside = {other.stem for other in path.parent.glob("*.py")} if path.parent == ROOT / "tools" else set()
    return found - OURS - beside - set(sys.stdlib_module_names)


DISTRIBUTIONS = {
    name: {canonicalize_name(each) for each in several} for name, several in packages_distributions().items()
}


def bringing(package: str) -> set[str]:
    """The distributions with a package; one that is not installed is taken to be called like it."""
    return DISTRIBUTIONS.get(package) or {canonicalize_name(package)}


def test_there_is_something_to_check():
    assert len(OURS) >= 4
    used = set().union(*map(imported, FILES))
    assert {"paddle", "numpy", "cv2", "yaml", "openvino"} <= used


@pytest.mark.parametrize("package", sorted(set().union(*map(imported, FILES))))
def test_what_is_imported_is_declared(package):
    always, extras = declared()
    allowed = always.union(*(extras[name] for name in OPTIONAL))
    users = [str(path.relative_to(ROOT)) for path in FILES if package in imported(path)]
    assert bringing(package) & allowed, f"{' or '.join(sorted(bringing(package)))} for {', '.join(users)}"


def test_what_is_always_brought_is_imported():
    always, _ = declared()
    always -= {"imagecodecs"}  # tifffile imports it, for compressed files
    used = set().union(*(bringing(package) for package in set().union(*map(imported, FILES))))
    assert not always - used

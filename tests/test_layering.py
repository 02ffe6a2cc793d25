"""Who may import whom, and what the source must not contain."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAPERS = tuple(sorted(path.parent.name for path in ROOT.glob("pp*/__init__.py") if path.parent.name != "ppcore"))
PACKAGES = ("ppcore", *PAPERS)
OURS = (*PACKAGES, "tools", "tests")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Dotted names of the modules a file imports, `from a import b` as both a and a.b."""
    tree, found = tree_of(path), set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}: imports are absolute"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def inside(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


# Modules that do not import Paddle, as the test below proves in a process of its own.
PADDLE_FREE = [
    "ppcore.runtime",
    "ppcore.errors",
    "ppcore.cli",
    "ppcore.runtime.gpu_setup",
    "ppcore.config.durations",
    "ppcore.config.components",
    "ppcore.config",
    "ppcore.data",
    "ppcore.schedules",
    "ppcore.metrics",
    "ppcore.weights.files",
    "ppcore.report",
    "ppcore.model",
    "ppcore.deploy",
    "ppcore.deploy.predictor",
    "ppcore.photo.photo_io",
]


def offenders(paths: list[Path], forbidden) -> list[str]:
    return [f"{label(path)} imports {m}" for path in paths for m in sorted(imports(path)) if forbidden(m)]


class TestArrows:
    def test_there_is_something_to_check(self):
        assert len(sources("ppcore")) > 30
        assert len(PAPERS) >= 3
        assert len(sources("ppvit")) >= 4
        assert len(sources("tools")) >= 4

    def test_the_common_library_knows_no_paper(self):
        assert not offenders(sources("ppcore"), lambda m: inside(m, *PAPERS, "tools", "tests"))

    def test_nor_names_one_in_its_code(self):
        # A text such as importlib.import_module("ppvit") would be the same arrow. Names of packages that
        # a configuration may use are data, and live in one place.
        for path in sources("ppcore"):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                    if name in ("import_module", "__import__"):
                        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                        assert not any(inside(str(t), *PAPERS) for t in texts), label(path)

    def test_layers_import_layers_and_errors_only(self):
        allowed = ("ppcore.layers", "ppcore.errors")
        found = offenders(
            sources("ppcore/layers"), lambda m: inside(m, *OURS) and m != "ppcore" and not inside(m, *allowed)
        )
        assert not found

    def test_the_rest_of_the_library_does_not_import_the_engine(self):
        paths = [p for p in sources("ppcore") if "engine" not in p.parts and "benchmark" not in p.parts]
        assert not offenders(paths, lambda m: inside(m, "ppcore.engine"))

    @pytest.mark.parametrize("paper", PAPERS)
    def test_a_paper_never_imports_the_engine_or_the_tools(self, paper):
        assert not offenders(sources(paper), lambda m: inside(m, "ppcore.engine", "tools", "tests"))

    @pytest.mark.parametrize(
        ("paper", "others"),
        [("ppvit", ("ppdeit", "ppuhdfour")), ("ppdeit", ("ppuhdfour",)), ("ppuhdfour", ("ppvit", "ppdeit"))],
    )
    def test_papers_and_papers(self, paper, others):
        assert not offenders(sources(paper), lambda m: inside(m, *others))

    def test_tools_are_thin(self):
        found = offenders(
            sources("tools"),
            lambda m: not inside(m, "ppcore", "environment") and m.split(".")[0] not in sys.stdlib_module_names,
        )
        assert not found

    @pytest.mark.parametrize("path", sources("tools"), ids=label)
    def test_tools_set_the_threads_before_paddle(self, path):
        """Where a tool imports what imports Paddle, `configure()` has run."""
        configured = False
        for node in tree_of(path).body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                configured |= ast.unparse(node.value.func).endswith("configure")
            if isinstance(node, ast.ImportFrom) and inside(node.module, *PACKAGES) and not configured:
                assert inside(node.module, *PADDLE_FREE) or node.module == "ppcore", (
                    f"line {node.lineno} imports {node.module} before configure()"
                )


def test_what_does_not_import_paddle():
    """`ppcore.runtime` sets variables that Paddle reads when imported, and data workers start fast without it."""
    modules = ["ppcore", *PADDLE_FREE]
    code = (
        "import importlib, json, sys\n"
        f"result = []\nfor name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'paddle' in sys.modules: result.append(name); break\n"
        "print(json.dumps(result))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


CODE = sources(*PACKAGES, "tools")


@pytest.mark.parametrize("path", CODE, ids=label)
def test_nothing_is_evaluated_or_swallowed(path):
    text_calls = {"eval", "exec", "compile", "__import__"}
    pickles = {
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "pickle._Unpickler",
        "paddle.load",
        "torch.load",
        "joblib.load",
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in text_calls, f"line {node.lineno}: {name}()"
            assert name not in {"os.system", "os.popen"}, f"line {node.lineno}: {name}()"
            assert name not in pickles, f"line {node.lineno}: {name}() runs a file's code"
            if name.endswith("np.load"):
                assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in node.keywords)
            assert not any(k.arg == "shell" for k in node.keywords), f"line {node.lineno}: shell"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(step, (ast.Pass, ast.Continue)) for step in node.body)
            assert not (broad and silent), f"line {node.lineno}: a broad except that says nothing"
            assert node.type is not None, f"line {node.lineno}: a bare except"


def test_no_file_is_called_utils():
    vague = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [label(path) for path in sources(*OURS) if path.name in vague]


def test_test_files_have_different_names():
    """pytest imports them by basename."""
    names = [path.name for path in sources("tests")]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    assert "__init__.py" not in names


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=label)
def test_public_things_have_docstrings(path):
    """Modules, and their public classes and functions."""
    tree, missing = tree_of(path), []
    if not ast.get_docstring(tree) and tree.body:
        missing.append("the module")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node):
            missing.append(f"{node.name} (line {node.lineno})")
    assert not missing, f"{label(path)}: no docstring on {', '.join(missing)}"


@pytest.mark.parametrize("path", CODE, ids=label)
def test_no_machine_path(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for prefix in ("/work/", "/tmp/", "/home/", "/root/"):
                assert prefix not in node.value, f"line {node.lineno}: {node.value!r}"

"""What the source must and must not contain: sizes, names, docstrings, nothing that runs a file's code."""

import ast
from collections import defaultdict

import pytest
from source_tree import OURS, PACKAGES, ROOT, label, module_of, sources, tree_of

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
    stranger = ROOT / "tests" / "stranger"  # packages of strangers, which pytest does not import
    names = [path.name for path in sources("tests") if path.parent == stranger or stranger not in path.parents]
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


class TestSizes:
    LINES, FUNCTION, ROOT_MODULES = 300, 60, 9
    LOOP = "ppcore.engine.train"  # training is one flat loop

    @pytest.mark.parametrize("path", CODE, ids=label)
    def test_files_and_functions(self, path):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= self.LINES
        if module_of(path) != self.LOOP:
            for node in ast.walk(tree_of(path)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    assert node.end_lineno - node.lineno < self.FUNCTION, f"{node.name} (line {node.lineno})"

    def test_the_root_of_the_library_is_small(self):
        modules = [path.stem for path in (ROOT / "ppcore").glob("*.py") if path.stem != "__init__"]
        assert len(modules) <= self.ROOT_MODULES, modules


# Basenames that several packages have, and why.
SHARED_NAMES = {
    "__init__": "Python's",
    "weights": "each paper's tables of other people's weight files, found under one name",
}


def test_a_basename_says_where_a_file_is():
    homes = defaultdict(list)
    for path in sources(*PACKAGES):
        homes[path.stem].append(label(path))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SHARED_NAMES}


# What a variable that holds a network, a criterion or a metric is called.
MODELS = {"model", "net", "network", "arch", "student", "teacher", "criterion", "loss", "metric", "task"}


@pytest.mark.parametrize("path", [p for p in CODE if label(p) != "ppcore/model.py"], ids=label)
def test_nothing_asks_a_model_what_it_has(path):
    """Its optional attributes are read in one place: `ppcore.model.traits`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr"):
            asked, name = ast.unparse(node.args[0]).rpartition(".")[2], node.args[1]
            assert asked not in MODELS or not isinstance(name, ast.Constant), f"line {node.lineno}: {ast.unparse(node)}"

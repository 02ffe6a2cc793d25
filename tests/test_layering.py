"""Who may import whom: the arrows of the packages and of the rooms of ppcore."""

import ast
import json
import re
import subprocess
import sys

import pytest
from source_tree import (
    OURS,
    PACKAGES,
    PAPERS,
    ROOT,
    circles,
    code_texts,
    imports,
    inside,
    label,
    module_of,
    modules_imported,
    offenders,
    sources,
    tree_of,
)

# Modules of ppcore's root that everything may use.
SHARED = tuple(f"ppcore.{path.stem}" for path in (ROOT / "ppcore").glob("*.py") if path.stem != "__init__")
BELOW = ("data", "weights", "metrics", "config", "layers")
SHARED_ROOMS = ("ppcore.runtime", "ppcore.optim")
# Room of ppcore -> the others it may import. Importing an engine's room for its records is reading, no more.
ROOMS = {
    "layers": (),
    "config": (),
    "runtime": (),
    "optim": (),
    "data": BELOW,
    "weights": BELOW,
    "metrics": BELOW,
    "deploy": (*BELOW, "photo"),
    "photo": BELOW,
    "engine": (*BELOW, "deploy", "photo"),
    "report": (*BELOW, "deploy", "photo", "engine.records"),
    "reproduce": (*BELOW, "deploy", "photo", "engine", "report"),
}
# Modules that do not import Paddle, as the test below proves in a process of its own.
PADDLE_FREE = [
    "ppcore.runtime",
    "ppcore.errors",
    "ppcore.cli",
    "ppcore.io",
    "ppcore.config.durations",
    "ppcore.config.components",
    "ppcore.config.catalogue",
    "ppcore.config",
    "ppcore.data",
    "ppcore.schedules",
    "ppcore.metrics",
    "ppcore.engine.records",
    "ppcore.report",
    "ppcore.model",
    "ppcore.deploy",
    "ppcore.deploy.predictor",
    "ppcore.photo.photo_io",
]


class TestRooms:
    def test_there_is_something_to_check(self):
        assert len(sources("ppcore")) > 30
        assert len(PAPERS) >= 3
        assert all(sources(paper) for paper in PAPERS)
        assert len(sources("tools")) >= 4

    def test_every_room_has_its_arrows(self):
        assert {path.parent.name for path in (ROOT / "ppcore").glob("*/__init__.py")} == set(ROOMS)

    @pytest.mark.parametrize("room", ROOMS)
    def test_a_room_imports_what_is_below_it(self, room):
        allowed = [*SHARED, *SHARED_ROOMS, f"ppcore.{room}", *(f"ppcore.{other}" for other in ROOMS[room])]
        wrong = offenders(
            sources(f"ppcore/{room}"),
            lambda m: inside(m, "ppcore") and m not in ("ppcore", *_attributes()) and not _is_allowed(m, allowed),
        )
        assert not wrong

    def test_layers_import_layers_and_errors_only(self):
        allowed = ("ppcore.layers", "ppcore.errors")
        found = offenders(
            sources("ppcore/layers"), lambda m: inside(m, *OURS) and m != "ppcore" and not inside(m, *allowed)
        )
        assert not found

    def test_what_everything_uses_imports_no_room_but_config_and_layers(self):
        allowed = (*SHARED, *SHARED_ROOMS, "ppcore.config", "ppcore.layers")
        paths = sorted((ROOT / "ppcore").glob("*.py"))
        assert not offenders(paths, lambda m: inside(m, "ppcore") and m != "ppcore" and not inside(m, *allowed))


def _attributes() -> set[str]:
    """Names of ppcore itself that are no modules."""
    return {"ppcore.__version__"}


def _is_allowed(module: str, allowed: list[str]) -> bool:
    """Whether a module is in an allowed one, or is the package of one (`from ppcore.engine import records`)."""
    return inside(module, *allowed) or any(inside(one, module) for one in allowed)


class TestPackages:
    def test_the_common_library_knows_no_paper(self):
        assert not offenders(sources("ppcore"), lambda m: inside(m, *PAPERS, "benchmarks", "tools", "tests"))

    def test_nor_names_one_in_its_code(self):
        """Neither a module to import nor an example: examples are ppcore's own."""
        names = re.compile(rf"\b({'|'.join(PAPERS)})\b")
        wrong = [
            f"{label(path)}:{text.lineno}: {text.value!r}"
            for path in sources("ppcore")
            for text in code_texts(path)
            if names.search(text.value)
        ]
        assert not wrong

    @pytest.mark.parametrize("paper", PAPERS)
    def test_a_paper_builds_on_the_common_library(self, paper):
        """Of the engine it knows the protocol of a task; of reports and reproductions nothing."""
        above = ("ppcore.engine", "ppcore.report", "ppcore.reproduce", "benchmarks", "tools", "tests")
        task = ("ppcore.engine", "ppcore.engine.task")
        wrong = offenders(
            sources(paper),
            lambda m: inside(m, *above) and not inside(m, "ppcore.engine.task") and m not in task,
        )
        assert not wrong

    def test_papers_build_on_papers_in_one_direction(self):
        graph = {
            paper: {m.partition(".")[0] for path in sources(paper) for m in imports(path)} & set(PAPERS) - {paper}
            for paper in PAPERS
        }
        assert not circles(graph)

    def test_a_paper_is_listed_nowhere(self):
        """Entry points find it; setup.py finds its package. The Makefile's PAPER and the tools' help are examples."""
        for name in ("setup.py", "Makefile", "pyproject.toml"):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not [paper for paper in PAPERS if paper in text], name

    def test_tools_are_thin(self):
        beside = {path.stem for path in sources("tools")}
        allowed = ("ppcore", "benchmarks", *beside, *sys.stdlib_module_names)
        # gpu_setup also tries Paddle's kernels, once it is installed.
        paths = [path for path in sources("tools") if path.stem != "gpu_setup"]
        assert not offenders(paths, lambda m: not inside(m, *allowed))

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


def test_no_module_imports_itself_by_way_of_others():
    """At the top of the files; a package counts where something of its own is imported, not one of its modules."""
    files = {module_of(path): path for path in sources(*PACKAGES)}
    graph = {name: modules_imported(path, files.keys()) - {name} for name, path in files.items()}
    assert not [sorted(group) for group in circles(graph)]


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

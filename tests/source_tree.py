"""The source as the tests about it read it: files, packages, imports."""

import ast
from collections.abc import Collection
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Every package that is found here: ppcore, the papers, the benchmarks.
PACKAGES = tuple(sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
PAPERS = tuple(name for name in PACKAGES if name.startswith("pp") and name != "ppcore")
OURS = (*PACKAGES, "tools", "tests")


def sources(*folders: str) -> list[Path]:
    """The Python files in folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def label(path: Path) -> str:
    """A file's path in the repository."""
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """Dotted names of what a file imports, at the top or inside functions, `from a import b` as both a and a.b."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}: imports are absolute"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def modules_imported(path: Path, modules: Collection[str]) -> set[str]:
    """Which of these modules a file imports at its top; of `from a import b` it is a.b where that is a module, else a."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found & set(modules)


def inside(module: str, *packages: str) -> bool:
    """Whether a module is one of these or in one of them."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(paths: list[Path], forbidden) -> list[str]:
    """What files import that they must not."""
    return [f"{label(path)} imports {m}" for path in paths for m in sorted(imports(path)) if forbidden(m)]


def code_texts(path: Path) -> list[ast.Constant]:
    """The texts in a file's code: not its docstrings, nor those that stand below an attribute."""
    tree = tree_of(path)
    about = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node for node in texts if id(node) not in about]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of nodes that lead back to themselves."""

    @cache
    def reached(start: str) -> frozenset[str]:
        seen, left = set(), [start]
        while left:
            new = graph.get(left.pop(), set()) - seen
            seen |= new
            left += new
        return frozenset(seen)

    groups = {frozenset(b for b in reached(a) if a in reached(b)) for a in graph if a in reached(a)}
    return [set(group) for group in groups]

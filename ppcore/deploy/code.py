"""Which source files a network's layers can reach: what they import, and what that imports, but for installed libraries."""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES
from pathlib import Path


def reachable(modules: Iterable[str]) -> dict[str, Path]:
    """The source files of modules and of all that they import, at the top or inside functions.

    Python's own modules and installed packages are not followed, unless one of `modules` belongs to them.

    Args:
        modules: dotted names.

    Returns:
        Files by dotted name, sorted; modules without Python source are left out.
    """
    queue = sorted(set(modules))
    own = {name.partition(".")[0]: True for name in queue}  # by package
    found: dict[str, Path] = {}
    seen = set(queue)
    while queue:
        name = queue.pop()
        file = _source(name)
        if file is None:
            continue
        found[name] = file
        for other in sorted(_imported(name, file) - seen):
            package = other.partition(".")[0]
            if package not in own:
                own[package] = _is_own(package)
            if own[package]:
                seen.add(other)
                queue.append(other)
    return dict(sorted(found.items()))


def _is_own(package: str) -> bool:
    """Whether a package lies neither with Python nor among the installed ones."""
    file = _source(package)
    if file is None or file.is_relative_to(sysconfig.get_path("stdlib")):
        return False
    return not {"site-packages", "dist-packages"} & set(file.parts)


def _source(name: str) -> Path | None:
    """The file of a module, which is not imported: that could take seconds."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a script, __main__
        spec = None
    if spec is None:
        origin = getattr(sys.modules.get(name), "__file__", None)
    elif not rest:
        origin = spec.origin
    else:
        places = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
        files = [file for place in places for file in (place / "__init__.py", place.with_name(f"{place.name}.py"))]
        origin = next((str(file) for file in files if file.is_file()), None)
    return Path(origin) if origin is not None and origin.endswith(tuple(SOURCE_SUFFIXES)) else None


def _imported(name: str, file: Path) -> set[str]:
    """What a file imports: `from a import b` is `a` and, which may be a module, `a.b`."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found

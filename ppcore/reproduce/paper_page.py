"""Which paper is reproduced: one of `papers/`, or anybody's YAML, and where its configurations are."""

from dataclasses import dataclass
from pathlib import Path

from ppcore.errors import ConfigError, nearest
from ppcore.report import load_paper
from ppcore.report.published import PaperTables

RECIPES = "_recipes"  # ends the names of the files beside the pages that hold their full-scale recipes


@dataclass(frozen=True)
class PaperPage:
    """A paper's tables with the folders around them.

    Attributes:
        name: the page's, without suffix.
        tables: what it says.
        root: folder that its configurations and its stored reference are named from.
        tools: folder of `train.py`.
    """

    name: str
    tables: PaperTables
    root: Path
    tools: Path


def find_paper(paper: str, repository: Path) -> PaperPage:
    """Reads a paper by its name in `papers/`, or by the path of its YAML.

    A page outside `papers/` names its configurations from its own folder.

    Raises:
        ConfigError: there is no such paper, or its page is wrong.
    """
    folder, tools = repository / "papers", repository / "tools"
    path = Path(paper)
    if path.suffix in (".yaml", ".yml"):
        inside = path.resolve().parent == folder.resolve()
        return PaperPage(path.stem, load_paper(path), repository if inside else path.parent, tools)
    known = sorted(page.stem for page in folder.glob("*.yaml") if not page.stem.endswith(RECIPES))
    if paper not in known:
        hint = nearest(paper, known)
        raise ConfigError(f"no paper '{paper}'{hint}; papers: {', '.join(known)}, or the path of a paper's .yaml")
    return PaperPage(paper, load_paper(folder / f"{paper}.yaml"), repository, tools)

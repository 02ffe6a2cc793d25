"""Which paper is reproduced: one of `papers/`, or anybody's YAML, and where its configurations are."""

from collections.abc import Sequence
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
        file: the page, whose name without suffix is the paper's.
        tables: what it says.
        root: folder that its configurations and its stored reference are named from.
        tools: folder of `train.py`.
    """

    file: Path
    tables: PaperTables
    root: Path
    tools: Path

    @property
    def name(self) -> str:
        """What the paper is called on the command line, and its folder of results."""
        return self.file.stem

    def files(self, names: Sequence[str]) -> list[Path]:
        """Configuration files that the page names."""
        return [self.root / name for name in names]


def find_paper(paper: str, repository: Path) -> PaperPage:
    """Reads a paper by its name in `papers/`, or by the path of its YAML.

    A page outside `papers/` names its configurations from its own folder.

    Raises:
        ConfigError: there is no such paper, or its page is wrong.
    """
    folder, tools, file = repository / "papers", repository / "tools", Path(paper)
    if file.suffix in (".yaml", ".yml"):
        ours = file.resolve().parent == folder.resolve()
        return PaperPage(file, load_paper(file), repository if ours else file.parent, tools)
    known = sorted(page.stem for page in folder.glob("*.yaml") if not page.stem.endswith(RECIPES))
    if paper not in known:
        hint = nearest(paper, known)
        raise ConfigError(f"no paper '{paper}'{hint}; papers: {', '.join(known)}, or the path of a paper's .yaml")
    file = folder / f"{paper}.yaml"
    return PaperPage(file, load_paper(file), repository, tools)

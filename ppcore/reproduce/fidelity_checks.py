"""The fidelity checks of a paper that can run here, as rows of the report."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from paddle import nn

from ppcore import config
from ppcore.config import components, roles
from ppcore.engine import evaluate
from ppcore.errors import ConfigError
from ppcore.report import FidelityRow
from ppcore.report.published import Fidelity, PaperTables, Trained
from ppcore.reproduce.fidelity import count_parameters, measure
from ppcore.reproduce.quick import missing_data


def check(paper: PaperTables) -> None:
    """Checks that what the paper's page names exists, before anything is computed.

    Raises:
        ConfigError: it does not.
    """
    if paper.fidelity:
        components.resolve(paper.fidelity.described_by, "fidelity: described_by", roles.FIDELITY)
    for item in paper.architecture:
        _builder(item.builder, paper.fidelity)


def fidelity_rows(paper: PaperTables, root: Path) -> list[FidelityRow]:
    """Runs every fidelity check that can run here.

    Args:
        paper: the paper's tables.
        root: folder that the stored reference and the configurations are named from.

    Returns:
        A row a check; one whose data is absent has `passed` None and says why.
    """
    rows = [_counted(paper)] if paper.architecture else []
    if paper.fidelity is None:
        return rows
    measured = _measured(paper.fidelity, root)
    return [*rows, *measured, *(_trained(item, root) for item in paper.fidelity.trained)]


def _counted(paper: PaperTables) -> FidelityRow:
    """Level 1: the parameters of every builder."""
    began, wrong = time.monotonic(), []
    for item in paper.architecture:
        params = count_parameters(_builder(item.builder, paper.fidelity))
        if params != item.params:
            wrong.append(f"{item.builder}: {params:,} instead of {item.params:,}")
    total = len(paper.architecture)
    return FidelityRow(
        level=1,
        what=f"parameters of {total} builders",
        reference="published counts",
        measured=f"{total - len(wrong)} of {total} equal",
        kind="to the unit",
        tolerance="all",
        passed=not wrong,
        seconds=time.monotonic() - began,
        note="; ".join(wrong),
    )


def _builder(name: str, fidelity: Fidelity | None) -> Callable[[], nn.Layer]:
    """A builder of the package that describes the reference; without one, of a package that may be named."""
    if fidelity:
        package = fidelity.described_by.partition(".")[0]
        return components.resolve(f"{package}.{name}", "architecture", roles.NETWORK)
    for package in roles.packages():
        with suppress(ConfigError):
            return components.resolve(f"{package}.{name}", "architecture", roles.NETWORK)
    known = ", ".join(roles.packages())
    raise ConfigError(f"architecture: no '{name}' in {known} (for a package of your own pass --allow PACKAGE)")


def _measured(fidelity: Fidelity, root: Path) -> list[FidelityRow]:
    """Levels 2 to 4: the tiny model against its stored reference."""
    began, path = time.monotonic(), root / fidelity.reference
    rows = measure(components.resolve(fidelity.described_by, "fidelity: described_by", roles.FIDELITY), path)
    seconds = (time.monotonic() - began) / len(rows)
    return [
        FidelityRow(
            level=row.level,
            what=row.what,
            reference=f"{fidelity.computed_by}, stored in {path.name}",
            measured=row.measured,
            kind=row.kind,
            tolerance=row.tolerance,
            passed=row.passed,
            seconds=seconds,
        )
        for row in rows
    ]


def _trained(item: Trained, root: Path) -> FidelityRow:
    """Level 5: weights that somebody else trained."""
    about = dict(level=5, what=item.what, reference=item.reference, kind="accuracy", tolerance=item.tolerance)
    if why := missing_data(item.needs):
        return FidelityRow(**about, passed=None, note=why)
    result = evaluate.run(config.load(root / item.config))
    value = float(result[item.metric])
    passed = abs(value - item.expected) <= item.tolerance
    return FidelityRow(**about, measured=value, passed=passed, seconds=result["seconds"], note=result["protocol"])

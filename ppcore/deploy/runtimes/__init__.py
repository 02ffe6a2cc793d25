"""What runs the stages of an export: a file an engine, imported when it is chosen (`ppcore.deploy.engine_choice`)."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ppcore.deploy.manifest import Manifest


class Runtime(Protocol):
    """An engine with the stages of an exported folder.

    Args:
        folder: the export.
        manifest: of the export.
        precision: `fp32` or `bf16`.
        threads: None leaves it to the engine.

    Attributes:
        suffixes: of the files that it reads.

    Raises:
        ConfigError: a precision that engine, processor or export does not have.
        WeightsError: a file that the engine does not take.
    """

    suffixes: tuple[str, ...]

    def __init__(self, folder: Path, manifest: Manifest, precision: str, threads: int | None): ...

    @staticmethod
    def version() -> str:
        """Name and version of the engine, for people."""
        ...

    def run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of a stage in order, float32 arrays of their own, of inputs by name (more than it reads may be given)."""
        ...

"""What an export is of: what a manifest says beside how to run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelFacts:
    """What an export is of, as plain data; what is not known is None.

    Attributes:
        architecture: the builder and its arguments, `{"name": "package.builder", …}`.
        preprocessing: what makes an image file's pixels the input: named steps in order, each `{"name": …, arguments}`
            as in `DataLoader.Eval.transforms` (`ppcore.deploy.preprocessing`); None for a network that takes
            photographs as they are.
        classes: names in the order of the outputs.
        weights: where the weights come from: file, sha256, licence, origin, … (`ppcore.weights.provenance`).
    """

    architecture: Mapping[str, Any] | None = None
    preprocessing: Mapping[str, Mapping[str, Any]] | None = None
    classes: Sequence[str] | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)

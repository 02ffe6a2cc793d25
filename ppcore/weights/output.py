"""Where weights are written to: a file with its card beside it, or a folder that describes itself."""

import os
from dataclasses import dataclass
from pathlib import Path

from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights import described_export
from ppcore.weights.card import check_card
from ppcore.weights.conversion import WRITTEN, check_output, map_of
from ppcore.weights.file_export import save_file
from ppcore.weights.provenance import Provenance


@dataclass(frozen=True)
class Output:
    """A path and the layout to write there.

    Attributes:
        path: .safetensors, .pdparams or .npz, or a folder for a layout that is one.
        layout: naming and storing convention.
    """

    path: str | os.PathLike
    layout: str

    def check(self, model: nn.Layer | None = None, *inputs: str | os.PathLike | None) -> None:
        """Says what would make `write` fail or destroy something, as far as it can be said yet.

        Args:
            model: that will be written, when it is known.
            inputs: files that are read; None is left out.

        Raises:
            WeightsError: the model has no such layout, or has something the layout has no place for; a suffix.
            OutputError: it cannot be written, or something would be lost.
        """
        path = Path(self.path)
        if path.suffix in WRITTEN:
            check_output(path, *inputs)
            check_card(path)
        elif model is None:
            described_export.check_folder_output(path, *inputs)
        if model is None:
            return
        description = map_of(model, self.layout).description
        if description is None:
            check_output(path, *inputs)
        elif path.suffix in WRITTEN:
            raise WeightsError(f"{path}: the layout {self.layout} is a folder: give one without {path.suffix}")
        else:
            described_export.check_folder_output(path, *inputs)
            description.config(model)

    def write(self, model: nn.Layer, known: Provenance) -> list[str]:
        """Writes the weights and what is known of them.

        Returns:
            What does not come out as it was, in words.

        Raises:
            WeightsError, OutputError: as for `check`.
        """
        if map_of(model, self.layout).description is not None:
            return described_export.save_folder(model, self.path, self.layout, known)
        save_file(model, self.path, self.layout, known)
        return []

"""What the stored references of super-resolution share: half the squared error of an image, minimised by Adam."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.optim import ConstantAdam
from ppsr.sr_losses import SquaredError


class SquaredReference(ConstantAdam):
    """The part of `ppcore.reproduce.fidelity.Reference` that SRCNN, FSRCNN and VDSR share.

    Args:
        facts: of the stored file.
    """

    gradients = ("gradient of every parameter and of the images", 2e-5)

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
        self.criterion = SquaredError(reduction="per_image")

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Half the sum of an image's squared differences, in the precision of the outputs."""
        return self.criterion(outputs, {"target": paddle.to_tensor(arrays["target"][rows]).astype(outputs.dtype)})

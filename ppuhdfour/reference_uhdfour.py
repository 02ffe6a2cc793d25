"""The narrow UHDFour whose numbers are stored in `tests/fidelity_data/uhdfour_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ppcore.optim import ConstantAdam
from ppuhdfour.uhdfour import UHDFour, reduce


class UHDFourReference(ConstantAdam):
    """Both outputs, the guides, every gradient, with either backend of the transforms; 40 steps of Adam.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "uhdfour"
    variants: Mapping[str, Mapping[str, Any]] = {"fft": {"backend": "fft"}, "matmul": {"backend": "matmul"}}
    # It jumps where a phase does: by 2e-4 on one path of MKL, by 2.4e-4 on another.
    gradients = ("gradient of every parameter and of the image", 5e-4)
    # Instance normalisation removes the first half of this bias: its gradient is zero in exact arithmetic.
    zero_gradients: Mapping[str, tuple[int, int]] = {"conv_1.bias": (0, 2)}
    # The gradient jumps where the phase does; what Adam's constants round to in Paddle moves the steps by 1e-8.
    norm_tolerance = 5e-4

    def build(self, **variant: Any) -> UHDFour:
        """The model in training mode: it returns both outputs."""
        model = UHDFour(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: UHDFour, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """Both outputs of images [B, 3, H, W], and with them the guides as stages."""
        stages: dict[str, paddle.Tensor] = {}
        hooks = [
            layer.register_forward_post_hook(lambda layer, image, guide, name=name: stages.update({name: guide}))
            for name, layer in (("A_r", model.low.amplitude), ("P_r", model.low.phase))
        ]
        outputs = model(x)
        for hook in hooks:
            hook.remove()
        return outputs, stages | dict(zip(("y", "y_low"), outputs, strict=True))

    def stages(self, model: UHDFour) -> dict[str, tuple[list[str], float]]:
        """The outputs and the guides."""
        return {
            "enhanced image": (["y"], 5e-5),
            "low-resolution result": (["y_low"], 5e-5),
            "amplitude guide": (["A_r"], 5e-5),
            # A phase is as exact as its bin is large: small ones turn with the rounding of the whole.
            "phase guide": (["P_r"], 5e-4),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Smooth L1 of both outputs, with the released code's weights."""
        y, y_low = outputs
        target = paddle.to_tensor(arrays["target"][rows]).astype(y.dtype)
        return 5 * F.smooth_l1_loss(y, target) + 0.5 * F.smooth_l1_loss(y_low, reduce(target, self.config["scale"]))

"""The tiny CAN whose numbers are stored in `tests/fidelity_data/can_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle

from ppssl.can import ContrastiveMaskedAutoencoder
from ppssl.can_task import CAN, PARTS
from ppssl.masking import Mask
from ppssl.scheduled_adamw import ScheduledAdamW


class _WithViews(ContrastiveMaskedAutoencoder):
    """Called, it hands on itself and the views: masks and noise levels are known where their rows are, in the loss."""

    def forward(self, x):
        return self, x


class CANReference(ScheduledAdamW):
    """Latent, projection, prediction, the three losses, every gradient; 24 steps of AdamW. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file; `options` are the task's, `sigma` has the noise levels [images, 2].
    """

    layout = "can"
    gradients = ("gradient of every parameter, of the views and of their noise", 2e-5)

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
        self.options, self.sigma = facts["options"], np.array(facts["sigma"])

    def build(self) -> ContrastiveMaskedAutoencoder:
        """The model, in evaluation mode."""
        model = _WithViews(**self.config)
        model.eval()
        return model

    def _given(self, x: paddle.Tensor, rows: Sequence[int]) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor, Mask]:
        """What the task makes its losses of, from [B, 2 views, clean or noise, C, H, W]: first all first views."""
        clean, noise = (paddle.concat([x[:, view, part] for view in (0, 1)]) for part in (0, 1))
        sigma = paddle.to_tensor(self.sigma[list(rows)].T.ravel()).astype(x.dtype)
        masks = zip(*(self.mask(rows, view) for view in (0, 1)), strict=True)
        return clean, sigma.reshape([-1, 1, 1, 1]) * noise, sigma, Mask(*map(paddle.concat, masks))

    def _terms(self, model: ContrastiveMaskedAutoencoder, x: paddle.Tensor, rows: Sequence[int]):
        run = SimpleNamespace(
            model=model, config=SimpleNamespace(accumulate=1), forward=lambda network, *inputs: network(*inputs)
        )
        task = CAN(run=run, **self.options)
        return task, task.terms(*self._given(x, rows))

    def forward(self, model: ContrastiveMaskedAutoencoder, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes; as stages what the network makes of the noisy views, [B, 2, …], and the three losses."""
        rows = range(len(x))
        clean, noise, sigma, mask = self._given(x, rows)
        predicted, projected = model.contrast_and_reconstruct(clean + noise, sigma, mask.keep, mask.restore)
        latent = model.encode(clean + noise, mask.keep)
        made = {"latent": latent, "projected": projected, "predicted": predicted}
        by_image = {name: paddle.stack(paddle.split(value, 2), axis=1) for name, value in made.items()}
        _, terms = self._terms(model, x, rows)
        return model(x), by_image | {"parts": paddle.stack([terms[name] for name in PARTS])}

    def stages(self, model: ContrastiveMaskedAutoencoder) -> dict[str, tuple[list[str], float]]:
        """Encoder, projection, decoder, the three losses."""
        return {
            "latent of what is visible": (["latent"], 1e-5),
            "projection of the mean of the patches": (["projected"], 1e-5),
            "predicted patches, of the noise level told": (["predicted"], 1e-5),
            "losses of contrast, reconstruction and noise": (["parts"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The weighted sum of the three."""
        task, terms = self._terms(*outputs, rows)
        return task.total(terms)

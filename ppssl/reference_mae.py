"""The tiny MAE whose numbers are stored in `tests/fidelity_data/mae_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppssl.mae import MaskedAutoencoder
from ppssl.scheduled_adamw import ScheduledAdamW


class _WithImages(MaskedAutoencoder):
    """Called, it hands on itself and the images: their masks are known where their rows are, in the loss."""

    def forward(self, x):
        return self, x


class MAEReference(ScheduledAdamW):
    """Kept tokens, latent, predicted patches, both losses, features of whole images; every gradient; 24 steps of AdamW.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "mae"

    def build(self) -> MaskedAutoencoder:
        """The model, in evaluation mode."""
        model = _WithImages(**self.config)
        model.eval()
        return model

    def forward(self, model: MaskedAutoencoder, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes; as stages what is between images and prediction, and what needs no mask."""
        rows = range(len(x))
        mask = self.mask(rows)
        latent = model.encode(x, mask.keep)
        fresh = self.build()  # the filled one has the stored positions
        stages = {
            "tokens": model.visible(model.patch_embed(x), mask.keep),
            "latent": latent,
            "predicted": model.decode(latent, mask.restore),
            "features": MaskedAutoencoder.forward(model, x),
            "pos_embed": fresh.pos_embed,
            "decoder_pos_embed": fresh.decoder_pos_embed,
            "plain_loss": self._plain_loss(model, x, rows),
        }
        return model(x), stages

    def _plain_loss(self, model: MaskedAutoencoder, x: paddle.Tensor, rows: Sequence[int]) -> paddle.Tensor:
        """The loss of pixels that are not normalised: [1]."""
        with paddle.no_grad():
            model.norm_pix_loss = False
            loss = self.loss((model, x), {}, rows, None).reshape([1])
        model.norm_pix_loss = True
        return loss

    def stages(self, model: MaskedAutoencoder) -> dict[str, tuple[list[str], float]]:
        """Positions, encoder, decoder, the loss of plain pixels, features."""
        return {
            "both tables of fixed positions, as built": (["pos_embed", "decoder_pos_embed"], 1e-6),
            "class token and kept patches with their positions": (["tokens"], 1e-5),
            "latent of what is visible": (["latent"], 1e-5),
            "predicted patches": (["predicted"], 1e-5),
            "loss of plain pixels": (["plain_loss"], 1e-5),
            "class token of whole images": (["features"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Mean squared error of the removed patches, in float32 as in every training."""
        (model, x), mask = outputs, self.mask(rows)
        return model.loss(model.reconstruct(x, mask.keep, mask.restore), x, mask.removed)

"""CAN (Mishra et al. 2022, "A simple, efficient and scalable contrastive masked autoencoder for learning visual representations",
arXiv 2210.16870): MAE's reconstruction, a contrast of two masked views, and the prediction of added noise, in one network.

The network here, its loss in `ppssl.can_task`. The paper's sums of squares are means over pixels, to which the weights .03, .67
and .30 belong, and the tokens that are pooled are the visible patches: choices, which the options undo.
"""

from typing import NamedTuple

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.layers import Linear, checks, init
from ppssl.can_layout import can_maps
from ppssl.mae import MaskedAutoencoder
from ppvit.builders import BASE, LARGE


class Outputs(NamedTuple):
    """What the network gives of noisy views.

    Attributes:
        predicted: [B, N, p·p·C], one prediction of both the clean removed patches and the noise of the visible ones.
        projected: [B, P], for the contrast.
    """

    predicted: paddle.Tensor
    projected: paddle.Tensor


class ContrastiveMaskedAutoencoder(MaskedAutoencoder):
    """`MaskedAutoencoder` with a projection for the contrast, whose decoder is told how much noise there is.

    Args:
        projection_dim: channels of the projection.
        noise_dim: channels of the waves that say the noise level, an even number from 4 on.
        class_token: whether the class token is pooled, and told the noise level, like a visible patch. The released code's reading;
            the paper's, as `ppssl` takes it, leaves it out.
        **kwargs: those of `MaskedAutoencoder`.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(self, *, projection_dim: int = 128, noise_dim: int = 128, class_token: bool = False, **kwargs):
        super().__init__(**kwargs)
        checks.whole(self, 1, projection_dim=projection_dim)
        checks.whole(self, 4, noise_dim=noise_dim)
        checks.flag(self, class_token=class_token)
        if noise_dim % 2:
            checks.fail(self, "noise_dim", noise_dim, "an even number")
        self.noise_dim, self.class_token, dim = noise_dim, class_token, self.embed_dim
        self.projection_head = nn.Sequential(Linear(dim, dim), nn.ReLU(), Linear(dim, projection_dim))
        self.noise_pe_mlp = nn.Sequential(Linear(noise_dim, dim), nn.ReLU(), Linear(dim, dim))
        for head in (self.projection_head, self.noise_pe_mlp):
            for layer in (head[0], head[2]):
                if layer.weight._is_initialized():
                    init.reset(layer.weight, init.XavierUniform())

    def contrast_and_reconstruct(self, noisy, sigma, keep, restore):
        """What is made of noisy images: [B, C, H, W], noise levels [B], int64 [B, K] and [B, N].

        Returns:
            (predicted [B, N, p·p·C], projected [B, P]), as `Outputs` names them.
        """
        latent = self.encode(noisy, keep)
        told = latent + self.noise_level(sigma).unsqueeze(1) * self._tokens_told(latent)
        return self.decode(told, restore), self.project(latent)

    def reconstruct(self, x, keep, restore):
        """Predicted patches of clean images, whose noise level is 0: [B, N, p·p·C]."""
        return self.contrast_and_reconstruct(x, paddle.zeros([x.shape[0]]), keep, restore)[0]

    def project(self, latent):
        """The projection of the mean of the visible tokens: [B, 1 + K, D] -> [B, P]."""
        return self.projection_head((latent if self.class_token else latent[:, 1:]).mean(axis=1))

    def noise_level(self, sigma):
        """What the decoder is told of noise levels: [B] -> [B, D]."""
        return self.noise_pe_mlp(noise_waves(sigma, self.noise_dim))

    def _tokens_told(self, latent):
        """1 for the tokens that are told the noise level, 0 for the class token unless `class_token`: [1, 1 + K, 1]."""
        told = np.ones((1, latent.shape[1], 1), np.float32)
        told[:, 0] = float(self.class_token)
        return paddle.to_tensor(told).astype(latent.dtype)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        return can_maps()


def noise_waves(sigma, dim: int):
    """Sines, then cosines, of noise levels: [B] -> [B, dim]; frequencies 10000^(-i / (dim/2 - 1)), which are 1 and below.

    (So levels up to .05 hardly move them: what tells the decoder is mostly the sine of the first few.)
    """
    half = dim // 2
    frequencies = paddle.to_tensor(10000.0 ** (-np.arange(half) / (half - 1))).astype(sigma.dtype)
    angles = sigma.unsqueeze(1) * frequencies
    return paddle.concat([paddle.sin(angles), paddle.cos(angles)], axis=1)


# Builders. Keyword arguments are those of `ContrastiveMaskedAutoencoder`.


def can_vit_base_patch16(**kwargs) -> ContrastiveMaskedAutoencoder:
    """CAN's ViT-B/16."""
    return ContrastiveMaskedAutoencoder(**{**BASE, **kwargs})


def can_vit_large_patch16(**kwargs) -> ContrastiveMaskedAutoencoder:
    """CAN's ViT-L/16."""
    return ContrastiveMaskedAutoencoder(**{**LARGE, **kwargs})

"""MAE (He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377).

The paper in one file: the network, then its builders. The encoder is `ppvit.VisionTransformer` with fixed positions, which sees
the visible patches alone; what it hands on to fine-tuning is in `ppssl.fine_tuning`. Parameter names are the official ones.
"""

from typing import Any, Literal

import paddle
import paddle.nn as nn

from ppcore.layers import Block, Linear, checks, init, patchify
from ppcore.layers.sincos import sincos_positions
from ppssl.mae_layout import mae_maps
from ppssl.masking import take
from ppvit.builders import BASE, HUGE, LARGE
from ppvit.vit import VisionTransformer


class Blocks(nn.LayerList):
    """Blocks that `Global.recompute` finds, beside those that are a model's `blocks`."""

    @property
    def blocks(self) -> list[nn.Layer]:
        return list(self)


class MaskedAutoencoder(VisionTransformer):
    """An encoder of the visible patches, and a small decoder that predicts the pixels of the removed ones.

    Called as a network it is the encoder: the features of whole images, nothing removed. `reconstruct` is the autoencoder.

    Args:
        img_size: input height and width in pixels, one number or (h, w).
        patch_size: side of a patch in pixels.
        in_chans: input channels.
        embed_dim: channels of a token in the encoder, a multiple of 4.
        depth: blocks of the encoder.
        num_heads: heads of the encoder.
        decoder_embed_dim: channels of a token in the decoder, a multiple of 4.
        decoder_depth: blocks of the decoder.
        decoder_num_heads: heads of the decoder.
        mlp_ratio: hidden channels of an MLP over its channels, in both.
        norm_eps: epsilon of every layer norm.
        norm_pix_loss: predict each patch with its own mean and standard deviation taken out, not the plain pixels.
        pool: the features of whole images: the class `token`, which the loss does not teach directly, or `gap`, the mean of the
            patches.

    Shape:
        [B, in_chans, H, W] float -> features [B, embed_dim].

    Raises:
        ConfigError: an argument out of its range, an image that is not a whole number of patches, or an input of another size.
    """

    def __init__(
        self,
        *,
        img_size: int | list[int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        decoder_embed_dim: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        norm_pix_loss: bool = False,
        pool: Literal["token", "gap"] = "token",
    ):
        checks.whole(self, 1, patch_size=patch_size, decoder_embed_dim=decoder_embed_dim)
        checks.whole(self, 1, decoder_depth=decoder_depth, decoder_num_heads=decoder_num_heads)
        checks.flag(self, norm_pix_loss=norm_pix_loss)
        super().__init__(
            img_size=img_size, patch_size=patch_size, in_chans=in_chans, num_classes=0, embed_dim=embed_dim, depth=depth,
            num_heads=num_heads, mlp_ratio=mlp_ratio, norm_eps=norm_eps, pool=pool,
        )  # fmt: skip
        self.patch_size, self.norm_pix_loss = patch_size, norm_pix_loss
        self.decoder_embed = Linear(embed_dim, decoder_embed_dim)
        self.mask_token = self.create_parameter([1, 1, decoder_embed_dim], attr=init.attr(init.Gaussian(0.02)))
        self.decoder_pos_embed = self._fixed_positions(decoder_embed_dim)
        hidden = int(decoder_embed_dim * mlp_ratio)
        self.decoder_blocks = Blocks(
            Block(decoder_embed_dim, decoder_num_heads, mlp_dim=hidden, norm_eps=norm_eps) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, epsilon=norm_eps)
        self.decoder_pred = Linear(decoder_embed_dim, patch_size**2 * in_chans)
        _initialise(self)

    def _build_tokens(self) -> None:
        self.cls_token = self.create_parameter([1, 1, self.embed_dim], attr=init.attr(init.Gaussian(0.02)))
        self.pos_embed = self._fixed_positions(self.embed_dim)

    def _fixed_positions(self, dim: int):
        """Positions as a parameter that is stored and not trained."""
        made = init.parameter(self, sincos_positions(dim, self.grid))
        made.stop_gradient = True
        return made

    def encode(self, x, keep):
        """Latent of the visible patches: images [B, C, H, W], int64 [B, K] -> [B, 1 + K, D], in the order of `keep`."""
        return self.encoded(self.visible(self.patch_embed(x), keep))

    def visible(self, patches, keep):
        """The class token and the kept patches with their positions: [B, N, D], [B, K] -> [B, 1 + K, D]."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand([patches.shape[0], -1, -1])
        patches = patches.astype(cls.dtype) + self.pos_embed[:, 1:]
        return paddle.concat([cls, take(patches, keep)], axis=1)

    def encoded(self, tokens):
        """Tokens [B, T, D] through the blocks and the final norm."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, latent, restore):
        """Predicted patches of whole images: [B, 1 + K, D], int64 [B, N] -> [B, N, p·p·C], in image order."""
        tokens = self.decoder_embed(latent)
        batch, kept, dim = tokens.shape
        masks = self.mask_token.astype(tokens.dtype).expand([batch, restore.shape[1] + 1 - kept, dim])
        patches = take(paddle.concat([tokens[:, 1:], masks], axis=1), restore)
        tokens = paddle.concat([tokens[:, :1], patches], axis=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:]

    def reconstruct(self, x, keep, restore):
        """Predicted patches of images of which the patches `keep` are seen (`ppssl.masking`): [B, N, p·p·C]."""
        return self.decode(self.encode(x, keep), restore)

    def target(self, x):
        """What the patches of images [B, C, H, W] are to be predicted as: [B, N, p·p·C], channels fastest."""
        patches = patchify(x.astype("float32"), self.patch_size)
        return normalized_patches(patches) if self.norm_pix_loss else patches

    def loss(self, predicted, x, removed):
        """Mean squared error of the removed patches: [B, N, p·p·C], images, [B, N] of 1 where removed -> a scalar."""
        return patch_error(predicted, self.target(x), removed)

    def pictures(
        self, x, numbers: Any = None, show: Any = None, mask_ratio: float = 0.75, seed: int = 0
    ) -> list[list[dict[str, Any]]]:
        """Panels of what is seen, what is predicted, and the image (`ppssl.reconstructions`), as `ppcore.model.Model` has it."""
        from ppssl.reconstructions import pictures  # drawing needs more than the network does

        return pictures(self, x, numbers, show, mask_ratio=mask_ratio, seed=seed)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        return mae_maps()


def normalized_patches(patches):
    """Each patch [.., P] with its own mean and standard deviation taken out; the variance is the unbiased one (divisor P - 1)."""
    mean, deviation = patch_statistics(patches)
    return (patches - mean) / deviation


def patch_statistics(patches):
    """Mean and deviation that a patch is normalised by: [.., P] -> 2 x [.., 1]."""
    variance = patches.var(-1, unbiased=True, keepdim=True)
    return patches.mean(-1, keepdim=True), paddle.sqrt(variance + 1e-6)


def patch_error(predicted, target, weights):
    """Mean over the patches of weight 1 of their mean squared error: 2 x [B, N, P], [B, N] -> a scalar."""
    errors = paddle.square(predicted.astype("float32") - target).mean(-1)
    return (errors * weights).sum() / weights.sum()


def _initialise(model: nn.Layer) -> None:
    """Xavier-uniform matrices, q, k and v as one and the patch projection as a matrix; its bias keeps a convolution's default."""
    if not model.cls_token._is_initialized():  # under `paddle.LazyGuard`
        return
    for layer in model.sublayers():
        if isinstance(layer, nn.Linear):
            init.reset(layer.weight, init.XavierUniform())
    kernel = model.patch_embed.proj.weight
    kernel.set_value(init.XavierUniform().draw([kernel.size // kernel.shape[0], kernel.shape[0]]).reshape(kernel.shape))


# Builders: the encoder's size and patch; the decoder is 512 wide, 8 deep. Keyword arguments are those of `MaskedAutoencoder`.


def mae_vit_base_patch16(**kwargs) -> MaskedAutoencoder:
    """ViT-B/16 with the paper's decoder."""
    return MaskedAutoencoder(**{**BASE, **kwargs})


def mae_vit_large_patch16(**kwargs) -> MaskedAutoencoder:
    """ViT-L/16 with the paper's decoder."""
    return MaskedAutoencoder(**{**LARGE, **kwargs})


def mae_vit_huge_patch14(**kwargs) -> MaskedAutoencoder:
    """ViT-H/14 with the paper's decoder."""
    return MaskedAutoencoder(**{**HUGE, "patch_size": 14, **kwargs})

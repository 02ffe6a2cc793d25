"""Jigsaw-ViT (Chen et al. 2022, "Jigsaw-ViT: Learning Jigsaw Puzzles in Vision Transformer", arXiv 2207.11971).

A DeiT whose trunk also says of patches without positions where they were. Parameter names are the official ones (jigsaw-deit).
"""

import paddle
import paddle.nn as nn

from ppcore.layers import Linear
from ppcore.weights import WeightMap
from ppcore.weights.layouts import TRANSPOSED, VECTOR, map_of
from ppdeit.deit import DeiT
from ppssl.masking import take
from ppvit.builders import BASE, SMALL, TINY
from ppvit.weights import TIMM


class JigsawVisionTransformer(DeiT):
    """A DeiT with a second head: for each patch it sees without its position, which of the N positions was it?

    Called as a network it is the DeiT.

    Args:
        **kwargs: those of `ppdeit.DeiT`.

    Shape:
        [B, in_chans, H, W] -> [B, num_classes].
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        dim, patches = self.embed_dim, self.grid[0] * self.grid[1]
        self.jigsaw = nn.Sequential(Linear(dim, dim), nn.ReLU(), Linear(dim, dim), nn.ReLU(), Linear(dim, patches))

    def classify_and_place(self, x, keep):
        """Logits of the classes, and of the positions of some patches, from one patch embedding and two passes of the trunk.

        The second pass has no position embedding, for the class token neither, and only the patches `keep`.

        Args:
            x: [B, C, H, W].
            keep: int64 [B, K].

        Returns:
            [B, num_classes] and [B, K, N].
        """
        patches = self.patch_embed(x)
        tokens = self._trunk(self.pos_drop(self.add_tokens(patches)))
        return self.forward_head(tokens), self.place(take(patches, keep))

    def place(self, patches):
        """Logits of the positions of patches [B, K, D]: [B, K, N]."""
        cls = self.cls_token.expand([patches.shape[0], -1, -1])
        return self.jigsaw(self._trunk(paddle.concat([cls, patches.astype(cls.dtype)], axis=1))[:, 1:])

    def _trunk(self, tokens):
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def weight_maps(self) -> dict[str, WeightMap]:
        """Layouts these weights can be read from and written to: `jigsaw`, the official one. (`ppdeit.DeiT` reads it, too.)"""
        head = [(r"(jigsaw\.[024]\.weight)", "{0}", TRANSPOSED), (r"(jigsaw\.[024]\.bias)", "{0}", VECTOR)]
        return {"jigsaw": map_of([*TIMM, *head], "jigsaw", framework="pt", pos_embed="deit_bicubic")}


# Builders. Keyword arguments are those of `ppdeit.DeiT`.


def jigsaw_tiny_patch16_224(**kwargs) -> JigsawVisionTransformer:
    """Jigsaw-ViT on DeiT-Ti."""
    return JigsawVisionTransformer(**{**TINY, **kwargs})


def jigsaw_small_patch16_224(**kwargs) -> JigsawVisionTransformer:
    """Jigsaw-ViT on DeiT-S."""
    return JigsawVisionTransformer(**{**SMALL, **kwargs})


def jigsaw_base_patch16_224(**kwargs) -> JigsawVisionTransformer:
    """Jigsaw-ViT on DeiT-B."""
    return JigsawVisionTransformer(**{**BASE, **kwargs})

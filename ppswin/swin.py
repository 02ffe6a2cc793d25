"""Swin Transformer (Liu et al. 2021, "Hierarchical Vision Transformer using Shifted Windows", arXiv 2103.14030).

The model; its blocks are in `ppswin.stage`, the builders in `ppswin.swin_builders`.
Parameter names are the official code's; layouts are Paddle's, a Linear weight is (in, out).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import PatchEmbed, checks, drop_path_rates, init
from ppcore.layers.layer_norm import LayerNorm
from ppcore.layers.patch_embed import check_input
from ppcore.layers.patch_merging import merged
from ppcore.layers.staged_classifier import StagedClassifier
from ppcore.layers.token_windows import RULES, WindowRule, padded
from ppswin.stage import Stage


class NormedPatchEmbed(PatchEmbed):
    """Patch embedding with a layer norm behind it.

    Args:
        img_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        in_chans: input channels.
        embed_dim: channels of a token.
        norm_eps: epsilon of the norm; None: there is none.
        pads: whether an image that is not whole patches is padded with zeros at its bottom and right; else it is refused.
    """

    def __init__(self, img_size, patch_size, in_chans, embed_dim, *, norm_eps: float | None, pads: bool):
        size, patch = checks.size(self, img_size=img_size), checks.size(self, patch_size=patch_size)
        whole = padded(size, patch) if pads else size
        super().__init__(whole, patch, in_chans, embed_dim)
        self.img_size, self.padding = size, [0, whole[0] - size[0], 0, whole[1] - size[1]]
        self.norm = nn.Identity() if norm_eps is None else LayerNorm(embed_dim, epsilon=norm_eps)

    def forward(self, x):  # [B, C, H, W] -> [B, N, D]
        check_input(x, self.img_size)
        if any(self.padding):
            x = F.conv2d(x, self.proj.weight, self.proj.bias, stride=self.patch_size, padding=self.padding)
        else:
            x = self.proj(x)
        return self.norm(x.flatten(2).transpose([0, 2, 1]))


class SwinTransformer(StagedClassifier):
    """Swin Transformer (section 3).

    Args:
        img_size: input height and width in pixels, one number or (h, w).
        patch_size: patch height and width in pixels.
        in_chans: input channels.
        num_classes: classes of the head; 0 builds no head and `forward` returns the pooled features.
        embed_dim: channels of the first stage (C); each stage has twice the channels of the one before.
        depths: blocks of each stage.
        num_heads: heads of each stage.
        window_size: side of a window in tokens (M).
        window_rule: whose code is followed where a map is smaller than a window, oblong, or not whole windows.
            `official` (classification): where the shorter side is not longer than the window, the window is that side and
            nothing is shifted; what is not whole windows, or cannot be halved, is refused. `timm`: each axis for itself,
            rolled and then padded. `detection` (Swin's code for COCO): window and shift everywhere as asked, padded and
            then rolled; an image that is not whole patches is padded, too, the others refuse it. They agree on square maps
            of whole windows that are larger than one.
        mlp_ratio: hidden channels of the MLP over its input's.
        qkv_bias: bias of the fused qkv projection.
        qk_scale: factor of q; None: head_dim^-1/2.
        drop_rate: dropout after the embedding, the projections and both MLP layers.
        attn_drop_rate: dropout on attention maps.
        drop_path_rate: stochastic depth, linear from 0 over all blocks.
        norm_eps: epsilon of every layer norm.
        patch_norm: a layer norm behind the patch embedding.
        ape: adds an absolute position embedding.
        shifted: shifts every other block; False is Table 4's "w/o shifting".
        relative_bias: a bias for each relative position; False is Table 4's "no pos.".
        content_term: q·k in the scores; False is Table 4's "rel. pos. w/o app.".

    Shape:
        [B, in_chans, H, W] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range, an image that the rule refuses, or an input of another size in `forward`.
    """

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 224,
        patch_size: int | Sequence[int] = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        window_rule: WindowRule = "official",
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        norm_eps: float = 1e-5,
        patch_norm: bool = True,
        ape: bool = False,
        shifted: bool = True,
        relative_bias: bool = True,
        content_term: bool = True,
    ):
        super().__init__()
        _check(self, locals())
        self.num_classes, self.embed_dim, self.window_rule = num_classes, embed_dim, window_rule
        self.patch_embed = NormedPatchEmbed(
            img_size,
            patch_size,
            in_chans,
            embed_dim,
            norm_eps=norm_eps if patch_norm else None,
            pads=window_rule == "detection",
        )
        grid = self.grid = self.patch_embed.grid
        self.absolute_pos_embed = None
        if ape:
            shape, start = [1, grid[0] * grid[1], embed_dim], init.TruncNormal(0.02)
            self.absolute_pos_embed = self.create_parameter(shape, attr=init.attr(start))
        self.pos_drop = nn.Dropout(drop_rate)
        self.layers = nn.LayerList(_stages(grid, locals()))
        self.num_features = embed_dim * 2 ** (len(depths) - 1)
        self.norm = LayerNorm(self.num_features, epsilon=norm_eps)
        self.build_head()

    def embed(self, x):
        """Tokens that enter the first block: [B, C, H, W] -> [B, N, embed_dim]."""
        x = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            x = x + self.absolute_pos_embed.astype(x.dtype)
        return self.pos_drop(x)

    def forward_features(self, x):
        """The map after the final norm: [B, C, H, W] -> [B, h, w, features]."""
        x = self.embed(x)
        for stage in self.layers:
            x = stage(x)
        return _as_map(self.norm(x), self.layers[-1].grid)

    def forward_intermediates(self, x) -> dict[str, paddle.Tensor]:
        """Every stage by name, with the head as in evaluation.

        Returns:
            maps [B, h, w, channels]: `patch_embed`, with its norm and positions; `stage_0_block_00`, `stage_0_block_01`, …;
            `stage_0`, what its last block gives; `merge_0`, what leaves it, but for the last; `norm`; then `pre_logits`
            [B, features]; `logits` [B, num_classes].
        """
        x = self.embed(x)
        found = {"patch_embed": _as_map(x, self.grid)}
        for s, stage in enumerate(self.layers):
            for b, block in enumerate(stage.blocks):
                x = block(x)
                found[f"stage_{s}_block_{b:02d}"] = _as_map(x, stage.grid)
            found[f"stage_{s}"] = _as_map(x, stage.grid)
            if stage.downsample is not None:
                x = stage.downsample(x)
                found[f"merge_{s}"] = _as_map(x, merged(stage.grid))
        found["norm"] = _as_map(self.norm(x), self.layers[-1].grid)
        found["pre_logits"] = self.forward_head(found["norm"], pre_logits=True)
        found["logits"] = self.head(found["pre_logits"])
        return found

    def attention_rollout(self, x) -> np.ndarray:
        """How much of each patch reaches the mean that the head reads: [B, C, H, W] -> [B, rows, columns]."""
        from ppswin.window_rollout import attention_rollout

        return attention_rollout(self, x)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppswin.deployed_swin`)."""
        from ppswin.deployed_swin import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from ppswin.weights import weight_maps  # the map describes this class: import when asked

        return weight_maps()

    def weight_fitting(self):
        """What is resampled and cut in weights of another size, for `ppcore.weights`."""
        from ppswin.swin_fitting import FITTING

        return FITTING


def _stages(grid: tuple[int, int], given: Mapping[str, Any]) -> Iterator[Stage]:
    """The stages of a model with these arguments, from the map of the embedding on."""
    depths, embed_dim = given["depths"], given["embed_dim"]
    attention = {name: given[name] for name in ("qkv_bias", "qk_scale", "relative_bias", "content_term")}
    attention["attn_drop"] = given["attn_drop_rate"]
    rates = drop_path_rates(given["drop_path_rate"], sum(depths))
    for s, (depth, heads) in enumerate(zip(depths, given["num_heads"], strict=True)):
        dim, done = embed_dim * 2**s, sum(depths[:s])
        yield Stage(
            dim,
            grid,
            merges=s < len(depths) - 1,
            num_heads=heads,
            window=given["window_size"],
            rule=given["window_rule"],
            shifted=given["shifted"],
            drop_paths=rates[done : done + depth],
            norm_eps=given["norm_eps"],
            block=dict(mlp_dim=int(dim * given["mlp_ratio"]), drop=given["drop_rate"], attention=attention),
        )
        grid = merged(grid)


def _as_map(tokens, grid: tuple[int, int]):
    """[B, h·w, C] -> [B, h, w, C]."""
    return tokens.reshape([-1, *grid, tokens.shape[-1]])


def _check(owner: nn.Layer, given: Mapping[str, Any]) -> None:
    """Checks the ranges of the constructor's arguments that no layer checks."""

    def of(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    checks.whole(owner, 0, **of("num_classes"))
    checks.whole(owner, 1, **of("in_chans", "embed_dim", "window_size"))
    checks.wholes(owner, 1, **of("depths", "num_heads"))
    checks.positive(owner, **of("mlp_ratio"))
    checks.epsilon(owner, **of("norm_eps"))
    checks.rate(owner, **of("drop_rate", "attn_drop_rate", "drop_path_rate"))
    checks.flag(owner, **of("qkv_bias", "patch_norm", "ape", "shifted", "relative_bias", "content_term"))
    checks.choice(owner, RULES, **of("window_rule"))
    depths, heads, ratio = given["depths"], given["num_heads"], given["mlp_ratio"]
    if not depths:
        checks.fail(owner, "depths", depths, "at least one stage")
    if len(depths) != len(heads):
        checks.fail(owner, "num_heads", heads, f"as many as the {len(depths)} stages")
    if int(given["embed_dim"] * ratio) < 1:
        checks.fail(owner, "mlp_ratio", ratio, f"at least 1 / embed_dim, {1 / given['embed_dim']:.3g}")

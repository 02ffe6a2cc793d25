"""Vision Transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv 2010.11929).

The paper in one file: the model, then its builders (Table 1). Hybrids are in `ppvit.hybrid`.
Parameter names are the field's (timm's); layouts are Paddle's, a Linear weight is (in, out).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.layers import ACTIVATIONS, Activation, Block, Linear, PatchEmbed, checks, drop_path_rates, init, rollout
from ppvit import jax_init


class PreLogits(nn.Layer):
    """Linear and tanh between the pooled token and the head (ViT §3.2: the pre-training head)."""

    def __init__(self, dim: int, representation_size: int):
        super().__init__()
        self.fc = Linear(dim, representation_size)

    def forward(self, x):
        return paddle.tanh(self.fc(x))


class EmbedLayer(Protocol):
    """Builds the patch embedding of a transformer."""

    def __call__(self, *, img_size: int | Sequence[int], in_chans: int, embed_dim: int) -> nn.Layer:
        """A network [B, C, H, W] -> [B, N, embed_dim] that has `grid`, its patches (down, across)."""
        ...


class VisionTransformer(nn.Layer):
    """Vision Transformer (ViT §3.1, eq. 1-4).

    Args:
        img_size: input height and width in pixels, one number or (h, w).
        patch_size: patch height and width in pixels, one number or (h, w).
        in_chans: input channels.
        num_classes: classes of the head; 0 builds no head and `forward` returns the pooled features.
        embed_dim: channels of a token (D, "hidden size").
        depth: encoder blocks (L).
        num_heads: attention heads (k).
        head_dim: channels a head, `embed_dim // num_heads` when None.
        mlp_ratio: hidden channels of the MLP over `embed_dim`.
        mlp_dim: hidden channels of the MLP, overrides `mlp_ratio`.
        qkv_bias: bias of the fused qkv projection.
        act: `gelu` (erf: timm, DeiT), `gelu_tanh` (Google's weights) or `relu`.
        norm_eps: epsilon of every layer norm.
        drop_rate: dropout after the position embedding and every linear layer but qkv (appendix B.1).
        attn_drop_rate: dropout on attention maps.
        drop_path_rate: stochastic depth; how it spreads over the blocks is `drop_path_mode`.
        drop_path_mode: `linear` from 0 (DeiT) or `constant` (DeiT III).
        layer_scale_init: initial LayerScale value; None builds none.
        representation_size: channels of the tanh `pre_logits` layer; None builds none.
        pool: what the head reads: the class `token`, or `gap`, the mean of the patch tokens.
        fc_norm: with `gap`, the final norm stands behind the mean, and is called so (MAE's fine-tuning).
        embed_layer: builds another patch embedding from (img_size, in_chans, embed_dim); it must have
            `grid` and map [B, C, H, W] to [B, N, D]. Hybrids use it; `patch_size` is then ignored.
        init: `timm` (truncated normal .02, as DeiT) or `jax` (the paper's code: Xavier-uniform linear
            layers, LeCun-normal patch projection, zero class token and head).
        head_bias_init: initial head bias under `init="jax"` (big_vision trains sigmoid losses from -10).

    Shape:
        [B, in_chans, H, W] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range, an image that is not a whole number of patches, or an input
            of another size in `forward`.
    """

    num_prefix_tokens = 1

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 224,
        patch_size: int | Sequence[int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        head_dim: int | None = None,
        mlp_ratio: float = 4.0,
        mlp_dim: int | None = None,
        qkv_bias: bool = True,
        act: Activation = "gelu",
        norm_eps: float = 1e-6,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        drop_path_mode: Literal["linear", "constant"] = "linear",
        layer_scale_init: float | None = None,
        representation_size: int | None = None,
        pool: Literal["token", "gap"] = "token",
        fc_norm: bool = False,
        embed_layer: EmbedLayer | None = None,
        init: Literal["timm", "jax"] = "timm",
        head_bias_init: float = 0.0,
    ):
        super().__init__()
        _check(self, locals())
        self.embed_dim, self.num_classes, self.pool, self.act = embed_dim, num_classes, pool, act
        self.init, self.head_bias_init = init, head_bias_init
        embed_layer = embed_layer or partial(PatchEmbed, patch_size=patch_size)
        self.patch_embed = embed_layer(img_size=img_size, in_chans=in_chans, embed_dim=embed_dim)
        self.grid = self.patch_embed.grid
        self._build_tokens()
        self.pos_drop = nn.Dropout(drop_rate)
        self.blocks = nn.LayerList(
            Block(
                embed_dim,
                num_heads,
                mlp_dim=mlp_dim or int(embed_dim * mlp_ratio),
                head_dim=head_dim,
                qkv_bias=qkv_bias,
                act=act,
                norm_eps=norm_eps,
                drop=drop_rate,
                attn_drop=attn_drop_rate,
                drop_path=rate,
                layer_scale_init=layer_scale_init,
            )
            for rate in drop_path_rates(drop_path_rate, depth, drop_path_mode)
        )
        self._build_norms(norm_eps, fc_norm)
        self.pre_logits = PreLogits(embed_dim, representation_size) if representation_size else nn.Identity()
        self.num_features = representation_size or embed_dim
        self._build_heads()
        if init == "jax":
            jax_init.initialise(self)

    @property
    def tokens_read(self) -> Sequence[int]:
        """The tokens whose mean evaluation's head reads."""
        patches = self.grid[0] * self.grid[1]
        return (0,) if self.pool == "token" else range(self.num_prefix_tokens, self.num_prefix_tokens + patches)

    def grid_of(self, x) -> tuple[int, int]:
        """Patches of images [B, C, H, W], down and across; a paper whose network takes other sizes overrides this."""
        return self.grid

    def _build_tokens(self) -> None:
        """Prefix tokens and position embedding; a paper with other tokens overrides this."""
        dim, patches = self.embed_dim, self.grid[0] * self.grid[1]
        self.cls_token = self.create_parameter([1, 1, dim], attr=init.attr(init.Gaussian(1e-6)))
        self.pos_embed = self.create_parameter(
            [1, self.num_prefix_tokens + patches, dim], attr=init.attr(init.TruncNormal(0.02))
        )

    def _build_norms(self, epsilon: float, fc_norm: bool) -> None:
        final = nn.LayerNorm(self.embed_dim, epsilon=epsilon)
        self.norm, self.fc_norm = (nn.Identity(), final) if fc_norm else (final, nn.Identity())

    def _build_heads(self) -> None:
        self.head = Linear(self.num_features, self.num_classes) if self.num_classes else nn.Identity()

    def add_tokens(self, x):
        """Prepends the class token, then adds the position embedding: [B, N, D] -> [B, 1 + N, D]."""
        cls = self.cls_token.expand([x.shape[0], -1, -1])
        # Widened, not the tokens narrowed: under autocast the patches may come in half precision.
        return paddle.concat([cls, x.astype(cls.dtype)], axis=1) + self.pos_embed

    def embed(self, x):
        """What the blocks are given: [B, C, H, W] -> [B, prefix + N, D]."""
        return self.pos_drop(self.add_tokens(self.patch_embed(x)))

    def forward_features(self, x):
        """Tokens after the final norm: [B, C, H, W] -> [B, prefix + N, D]."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward_head(self, tokens, pre_logits: bool = False):
        """Pools [B, prefix + N, D] and classifies: [B, num_classes], or [B, features] before the head."""
        pooled = tokens[:, 0] if self.pool == "token" else tokens[:, self.num_prefix_tokens :].mean(axis=1)
        features = self.pre_logits(self.fc_norm(pooled))
        return features if pre_logits else self.head(features)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(self, x) -> dict[str, paddle.Tensor]:
        """Every stage by name, with the heads as in evaluation.

        Returns:
            `patch_embed` [B, N, D]; `pos_embed` [B, prefix + N, D], tokens with positions added;
            `block_00`, `block_01`, …; `norm`; `pre_logits` [B, features]; `logits` [B, num_classes].
        """
        stages = {"patch_embed": self.patch_embed(x)}
        x = stages["pos_embed"] = self.pos_drop(self.add_tokens(stages["patch_embed"]))
        for i, block in enumerate(self.blocks):
            x = stages[f"block_{i:02d}"] = block(x)
        stages["norm"] = self.norm(x)
        stages["pre_logits"] = self.forward_head(stages["norm"], pre_logits=True)
        stages["logits"] = self.forward_head(stages["norm"])
        return stages

    def attention_maps(self, x) -> list[paddle.Tensor]:
        """Softmax attention of every block, each [B, heads, T, T] with T = prefix + N."""
        x, maps = self.embed(x), []
        for block in self.blocks:
            maps.append(block.attn.attention_map(block.norm1(x)))
            x = block(x)
        return maps

    def attention_rollout(self, x) -> np.ndarray:
        """How much of each patch reaches the tokens that the head reads, [B, rows, columns] (the paper's Figure 6)."""
        maps, grid, prefix = (
            [of_block.numpy() for of_block in self.attention_maps(x)],
            self.grid_of(x),
            self.num_prefix_tokens,
        )
        read = self.tokens_read if grid == self.grid or self.pool == "token" else range(prefix, maps[0].shape[-1])
        return rollout.attention_rollout(maps, num_prefix_tokens=prefix, grid=grid, tokens=read)

    def layer_ids(self) -> dict[str, int]:
        """The layer of each parameter for layer-wise rates: embedding 0, block i its i + 1, all after the blocks the last.

        The rule of BEiT's and MAE's fine-tuning, which put the final norm with the head.
        """
        first, last = ("patch_embed", "cls_token", "dist_token", "pos_embed"), len(self.blocks) + 1

        def layer(name: str) -> int:
            part, _, rest = name.partition(".")
            return 0 if part in first else int(rest.split(".")[0]) + 1 if part == "blocks" else last

        return {name: layer(name) for name, _ in self.named_parameters()}

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head by a fresh one of `num_classes` classes (0: none), as for fine-tuning."""
        checks.whole(self, 0, num_classes=num_classes)
        self.num_classes = num_classes
        self._build_heads()
        if self.init == "jax":
            jax_init.initialise_heads(self)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppvit.deployed_vit`)."""
        from ppvit.deployed_vit import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from ppvit.weights import weight_maps  # the map describes this class: import when asked

        return weight_maps()


# Builders: Table 1, the patch sizes of Table 5, and the small models of the AugReg study (arXiv 2106.10270).


def _check(owner: nn.Layer, given: Mapping[str, Any]) -> None:
    """Checks the ranges of the constructor's arguments."""

    def of(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    checks.whole(owner, 0, **of("num_classes"))
    checks.whole(owner, 1, **of("in_chans", "embed_dim", "depth", "num_heads"))
    checks.whole(owner, 1, optional=True, **of("head_dim", "mlp_dim", "representation_size"))
    checks.heads(owner, **of("embed_dim", "num_heads", "head_dim"))
    checks.positive(owner, **of("mlp_ratio"))
    checks.epsilon(owner, **of("norm_eps"))
    checks.rate(owner, **of("drop_rate", "attn_drop_rate", "drop_path_rate"))
    checks.number(owner, **of("head_bias_init"))
    checks.number(owner, optional=True, **of("layer_scale_init"))
    checks.flag(owner, **of("qkv_bias", "fc_norm"))
    checks.choice(owner, ("linear", "constant"), **of("drop_path_mode"))
    checks.choice(owner, ("token", "gap"), **of("pool"))
    if given["fc_norm"] and given["pool"] != "gap":
        checks.fail(owner, "fc_norm", True, "false where the head reads the class token: set pool=gap")
    checks.choice(owner, ("timm", "jax"), **of("init"))
    checks.choice(owner, tuple(ACTIVATIONS), **of("act"))
    embed_dim, mlp_ratio, embed_layer = given["embed_dim"], given["mlp_ratio"], given["embed_layer"]
    if given["mlp_dim"] is None and int(embed_dim * mlp_ratio) < 1:
        checks.fail(owner, "mlp_ratio", mlp_ratio, f"at least 1 / embed_dim, {1 / embed_dim:.3g}")
    if embed_layer is not None and not callable(embed_layer):
        checks.fail(owner, "embed_layer", embed_layer, "a callable or None")

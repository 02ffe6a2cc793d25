"""The references: Hugging Face's DeiT with teacher, and a DeiT III of its DINOv2 layers, with our names for their tensors.

Nothing here imports our packages.
"""

from types import SimpleNamespace

import torch
import torch_vit
from torch import nn
from torch.nn.functional import kl_div, log_softmax
from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher, Dinov2Config
from transformers.models.dinov2.modeling_dinov2 import Dinov2Layer, Dinov2PatchEmbeddings


class Distilled(DeiTForImageClassificationWithTeacher):
    """DeiT with both tokens and both heads; its tensors in timm's order."""

    timm_names = {  # noqa: RUF012
        name: theirs
        for key, old in torch_vit.NAMES.items()
        for name, theirs in {
            "cls_token": {
                "cls_token": ["deit.embeddings.cls_token"],
                "dist_token": ["deit.embeddings.distillation_token"],
            },
            "head": {"head": ["cls_classifier"], "head_dist": ["distillation_classifier"]},
        }.get(key, {key: [part.replace("vit.", "deit.", 1) for part in old]}).items()
    }


def build(**size) -> Distilled:
    """The distilled model of these sizes (see `torch_vit.build`), in evaluation mode."""
    return torch_vit.build(**size, classifier=Distilled, settings=DeiTConfig)


def both(out) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the class and of the distillation head."""
    return out.cls_logits, out.distillation_logits


def forward(model: Distilled, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """`torch_vit.forward` and the logits of both heads; `logits` is their mean."""
    heads = []
    handle = model.register_forward_hook(lambda _, __, out: heads.extend(both(out)))
    try:
        stages = torch_vit.forward(model, x)
    finally:
        handle.remove()
    return stages | dict(zip(("cls_logits", "dist_logits"), heads, strict=True))


def distillation(recipe: dict):
    """The criterion of a recipe, by torch's own functions.

    Called with (class logits, distillation logits) and [B, 2, K]: target probabilities, teacher's logits.
    """

    def criterion(heads, given):
        (cls_logits, dist_logits), (target, teacher), tau = heads, given.unbind(1), recipe.get("tau", 1.0)
        if recipe["mode"] == "hard":
            term = nn.functional.cross_entropy(dist_logits, teacher.argmax(1))
        else:
            opinion, answer = log_softmax(teacher / tau, 1), log_softmax(dist_logits / tau, 1)
            if recipe["kl"] == "numel":  # the official code's
                term = kl_div(answer, opinion, reduction="sum", log_target=True) * tau**2 / dist_logits.numel()
            else:
                term = kl_div(answer, opinion, reduction="batchmean", log_target=True) * tau**2
        base = torch_vit.soft_cross_entropy(cls_logits, target)
        return (1 - recipe["alpha"]) * base + recipe["alpha"] * term

    return criterion


class _Embeddings(nn.Module):
    """Patches, positions of the patches alone, then the class token in front."""

    def __init__(self, config: Dinov2Config):
        super().__init__()
        self.patch_embeddings = Dinov2PatchEmbeddings(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embeddings = nn.Parameter(
            torch.zeros(1, self.patch_embeddings.num_patches, config.hidden_size)
        )  # fmt: skip

    def forward(self, x):
        x = self.patch_embeddings(x) + self.position_embeddings
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)


class DeiT3(nn.Module):
    """DeiT III: what transformers lacks of it (the embedding) over its DINOv2 layers, which have LayerScale."""

    timm_names = {  # noqa: RUF012
        "cls_token": ["embeddings.cls_token"],
        "pos_embed": ["embeddings.position_embeddings"],
        "patch_embed.proj": ["embeddings.patch_embeddings.projection"],
        "blocks.{i}.norm1": ["layers.{i}.norm1"],
        "blocks.{i}.attn.qkv": [f"layers.{{i}}.attention.{part}_proj" for part in "qkv"],
        "blocks.{i}.attn.proj": ["layers.{i}.attention.o_proj"],
        "blocks.{i}.ls1.gamma": ["layers.{i}.layer_scale1.lambda1"],
        "blocks.{i}.norm2": ["layers.{i}.norm2"],
        "blocks.{i}.mlp.fc1": ["layers.{i}.mlp.fc1"],
        "blocks.{i}.mlp.fc2": ["layers.{i}.mlp.fc2"],
        "blocks.{i}.ls2.gamma": ["layers.{i}.layer_scale2.lambda1"],
        "norm": ["layernorm"],
        "head": ["head"],
    }

    def __init__(self, config: Dinov2Config):
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.layers = nn.ModuleList(Dinov2Layer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.num_labels)

    @property
    def base_model(self) -> nn.Module:
        """Where `torch_vit.forward` hooks in."""
        return self

    def forward(self, x):
        x = self.embeddings(x)
        for layer in self.layers:
            x = layer(x)
        return SimpleNamespace(logits=self.head(self.layernorm(x)[:, 0]))


def build_deit3(
    *, img_size: int, patch_size: int, in_chans: int, num_classes: int, embed_dim: int, depth: int,
    num_heads: int, mlp_ratio: int, qkv_bias: bool = True, act: str = "gelu", norm_eps: float = 1e-6,
) -> DeiT3:  # fmt: skip
    """The DeiT III model of these sizes, in evaluation mode."""
    return DeiT3(
        Dinov2Config(
            image_size=img_size,
            patch_size=patch_size,
            num_channels=in_chans,
            num_labels=num_classes,
            hidden_size=embed_dim,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            hidden_act=act,
            layer_norm_eps=norm_eps,
            attn_implementation="eager",
        )
    ).eval()

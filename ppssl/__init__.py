"""ppssl: learning without labels, or with few of them, on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppssl.can import ContrastiveMaskedAutoencoder, can_vit_base_patch16, can_vit_large_patch16
from ppssl.can_task import CAN
from ppssl.fine_tuning import (
    FineTunedViT,
    LinearProbe,
    mae_finetune_vit_base_patch16,
    mae_finetune_vit_huge_patch14,
    mae_finetune_vit_large_patch16,
    mae_linprobe_vit_base_patch16,
    mae_linprobe_vit_huge_patch14,
    mae_linprobe_vit_large_patch16,
)
from ppssl.mae import MaskedAutoencoder, mae_vit_base_patch16, mae_vit_huge_patch14, mae_vit_large_patch16
from ppssl.mae_task import MAE

__all__ = [
    "CAN",
    "MAE",
    "ContrastiveMaskedAutoencoder",
    "FineTunedViT",
    "LinearProbe",
    "MaskedAutoencoder",
    "can_vit_base_patch16",
    "can_vit_large_patch16",
    "mae_finetune_vit_base_patch16",
    "mae_finetune_vit_huge_patch14",
    "mae_finetune_vit_large_patch16",
    "mae_linprobe_vit_base_patch16",
    "mae_linprobe_vit_huge_patch14",
    "mae_linprobe_vit_large_patch16",
    "mae_vit_base_patch16",
    "mae_vit_huge_patch14",
    "mae_vit_large_patch16",
]

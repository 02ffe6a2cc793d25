"""ppssl: learning without labels, or with few, on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppssl.can import ContrastiveMaskedAutoencoder, can_vit_base_patch16, can_vit_large_patch16
from ppssl.can_task import CAN
from ppssl.fine_tuning import (
    FineTunedViT,
    LinearProbeViT,
    mae_finetune_vit_base_patch16,
    mae_finetune_vit_huge_patch14,
    mae_finetune_vit_large_patch16,
    mae_linprobe_vit_base_patch16,
    mae_linprobe_vit_huge_patch14,
    mae_linprobe_vit_large_patch16,
)
from ppssl.jigsaw_puzzles import ContextFreeNetwork, JigsawTiles, ShiftChannels
from ppssl.jigsaw_task import Jigsaw
from ppssl.jigsaw_vit import (
    JigsawVisionTransformer,
    jigsaw_base_patch16_224,
    jigsaw_small_patch16_224,
    jigsaw_tiny_patch16_224,
)
from ppssl.mae import MaskedAutoencoder, mae_vit_base_patch16, mae_vit_huge_patch14, mae_vit_large_patch16
from ppssl.mae_task import MAE
from ppssl.reconstruction_error import ReconstructionError

__all__ = [
    "CAN",
    "MAE",
    "ContextFreeNetwork",
    "ContrastiveMaskedAutoencoder",
    "FineTunedViT",
    "Jigsaw",
    "JigsawTiles",
    "JigsawVisionTransformer",
    "LinearProbeViT",
    "MaskedAutoencoder",
    "ReconstructionError",
    "ShiftChannels",
    "can_vit_base_patch16",
    "can_vit_large_patch16",
    "jigsaw_base_patch16_224",
    "jigsaw_small_patch16_224",
    "jigsaw_tiny_patch16_224",
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

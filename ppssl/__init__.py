"""ppssl: learning without labels, or with few, on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppssl.can import ContrastiveMaskedAutoencoder, can_vit_base_patch16, can_vit_large_patch16
from ppssl.can_task import CAN
from ppssl.dino_head import DINOHead, DINONetwork
from ppssl.dino_loss import DINOLoss
from ppssl.dino_task import DINO
from ppssl.dino_vit import (
    DINOVisionTransformer,
    dino_vit_base_patch8,
    dino_vit_base_patch16,
    dino_vit_small_patch8,
    dino_vit_small_patch16,
    dino_vit_tiny_patch16,
)
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
from ppssl.jigsaw_task import JigsawViT
from ppssl.jigsaw_vit import (
    JigsawVisionTransformer,
    jigsaw_base_patch16_224,
    jigsaw_small_patch16_224,
    jigsaw_tiny_patch16_224,
)
from ppssl.linear_probe import LinearProbe
from ppssl.mae import MaskedAutoencoder, mae_vit_base_patch16, mae_vit_huge_patch14, mae_vit_large_patch16
from ppssl.mae_task import MAE
from ppssl.ntxent import NTXent
from ppssl.position_accuracy import PositionAccuracy
from ppssl.raw_pixels import RawPixels
from ppssl.reconstruction_error import ReconstructionError
from ppssl.semi_augment import Cutout, UniformRandAugment
from ppssl.semi_networks import OneHiddenLayer
from ppssl.semi_task import FixMatch, PseudoLabel
from ppssl.simclr_blur import SimCLRBlur
from ppssl.simclr_head import ProjectionHead
from ppssl.simclr_resnet import SimCLRResNet, cifar_resnet18, simclr_resnet50
from ppssl.simclr_task import SimCLR
from ppssl.ssl_schedules import LinspaceCosine, Ramp, SevenSixteenths, SimCLRSchedule
from ppssl.wide_resnet import WideResNet, wide_resnet28_2, wide_resnet28_8, wide_resnet37_2

__all__ = [
    "CAN",
    "DINO",
    "MAE",
    "ContextFreeNetwork",
    "ContrastiveMaskedAutoencoder",
    "Cutout",
    "DINOHead",
    "DINOLoss",
    "DINONetwork",
    "DINOVisionTransformer",
    "FineTunedViT",
    "FixMatch",
    "JigsawTiles",
    "JigsawViT",
    "JigsawVisionTransformer",
    "LinearProbe",
    "LinearProbeViT",
    "LinspaceCosine",
    "MaskedAutoencoder",
    "NTXent",
    "OneHiddenLayer",
    "PositionAccuracy",
    "ProjectionHead",
    "PseudoLabel",
    "Ramp",
    "RawPixels",
    "ReconstructionError",
    "SevenSixteenths",
    "ShiftChannels",
    "SimCLR",
    "SimCLRBlur",
    "SimCLRResNet",
    "SimCLRSchedule",
    "UniformRandAugment",
    "WideResNet",
    "can_vit_base_patch16",
    "can_vit_large_patch16",
    "cifar_resnet18",
    "dino_vit_base_patch8",
    "dino_vit_base_patch16",
    "dino_vit_small_patch8",
    "dino_vit_small_patch16",
    "dino_vit_tiny_patch16",
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
    "simclr_resnet50",
    "wide_resnet28_2",
    "wide_resnet28_8",
    "wide_resnet37_2",
]

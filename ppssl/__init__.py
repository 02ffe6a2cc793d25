"""ppssl: learning without labels, or with few, on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppssl.cifar_resnet import cifar_resnet18
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
from ppssl.linear_probe import LinearProbe
from ppssl.ntxent import NTXent
from ppssl.semi_task import FixMatch, PseudoLabel
from ppssl.simclr_blur import SimCLRBlur
from ppssl.simclr_head import ProjectionHead
from ppssl.simclr_task import SimCLR
from ppssl.ssl_schedules import LinspaceCosine, Ramp, SevenSixteenths, SimCLRSchedule

__all__ = [
    "DINO",
    "DINOHead",
    "DINOLoss",
    "DINONetwork",
    "DINOVisionTransformer",
    "FixMatch",
    "LinearProbe",
    "LinspaceCosine",
    "NTXent",
    "ProjectionHead",
    "PseudoLabel",
    "Ramp",
    "SevenSixteenths",
    "SimCLR",
    "SimCLRBlur",
    "SimCLRSchedule",
    "cifar_resnet18",
    "dino_vit_base_patch8",
    "dino_vit_base_patch16",
    "dino_vit_small_patch8",
    "dino_vit_small_patch16",
    "dino_vit_tiny_patch16",
]

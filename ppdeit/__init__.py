"""ppdeit: DeiT (models, distillation, recipe) and DeiT III on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppdeit.deit import (
    DeiT,
    DistilledVisionTransformer,
    deit_base_distilled_patch16_224,
    deit_base_distilled_patch16_384,
    deit_base_patch16_224,
    deit_base_patch16_384,
    deit_small_distilled_patch16_224,
    deit_small_patch16_224,
    deit_tiny_distilled_patch16_224,
    deit_tiny_patch16_224,
)
from ppdeit.deit3 import (
    DeiT3,
    deit3_base_patch16_224,
    deit3_base_patch16_384,
    deit3_huge_patch14_224,
    deit3_large_patch16_224,
    deit3_large_patch16_384,
    deit3_medium_patch16_224,
    deit3_medium_patch16_384,
    deit3_small_patch16_224,
    deit3_small_patch16_384,
)
from ppdeit.distill import BothHeads, Distillation, hard_distillation, soft_distillation
from ppdeit.regnet import RegNet, regnety_160
from ppdeit.teacher import Teacher
from ppdeit.tokens import token_cosine

__all__ = [
    "BothHeads",
    "DeiT",
    "DeiT3",
    "Distillation",
    "DistilledVisionTransformer",
    "RegNet",
    "Teacher",
    "deit3_base_patch16_224",
    "deit3_base_patch16_384",
    "deit3_huge_patch14_224",
    "deit3_large_patch16_224",
    "deit3_large_patch16_384",
    "deit3_medium_patch16_224",
    "deit3_medium_patch16_384",
    "deit3_small_patch16_224",
    "deit3_small_patch16_384",
    "deit_base_distilled_patch16_224",
    "deit_base_distilled_patch16_384",
    "deit_base_patch16_224",
    "deit_base_patch16_384",
    "deit_small_distilled_patch16_224",
    "deit_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit_tiny_patch16_224",
    "hard_distillation",
    "regnety_160",
    "soft_distillation",
    "token_cosine",
]

"""Measures our ViT against `tests/fidelity_data/vit_tiny.npz`, made by torch and transformers.

`measure()` returns rows that a test asserts and a report prints; it needs no torch.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle

from ppcore import losses
from ppcore.reproduce import fidelity
from ppcore.reproduce.fidelity import Row
from ppvit.vit import VisionTransformer


def measure(path: Path) -> list[Row]:
    """All comparisons: stages of the forward pass, every gradient, 40 steps of three recipes."""
    facts, arrays = fidelity.read(path)
    rows = _one_pass(facts, arrays)
    for name, recipe in facts["training"]["runs"].items():
        binary = recipe["loss"].startswith("binary")
        targets = arrays["multi_targets" if binary else "soft_targets"]
        rows += fidelity.training(
            _build(facts, arrays),
            facts,
            arrays,
            name,
            criterion=losses.BinaryCrossEntropy(binarize=False) if binary else losses.CrossEntropy(),
            batch=lambda rows, targets=targets: {"target": paddle.to_tensor(targets[rows])},
        )
    return rows


def _one_pass(facts: Mapping, arrays: Mapping[str, np.ndarray]) -> list[Row]:
    """Stages of the forward pass and every gradient."""
    target = paddle.to_tensor(arrays["soft_targets"][: len(arrays["stages/logits"])])

    def loss(stages: dict) -> paddle.Tensor:
        return losses.CrossEntropy()(stages["logits"], {"target": target})

    return list(fidelity.one_pass(_build(facts, arrays), arrays, loss=loss))


def _build(facts: Mapping, arrays: Mapping[str, np.ndarray]) -> VisionTransformer:
    return fidelity.filled(VisionTransformer(**facts["config"]), arrays)

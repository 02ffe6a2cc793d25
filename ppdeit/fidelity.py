"""Measures DeiT and DeiT III against stored numbers of torch and transformers (`tests/fidelity_data`).

`measure()` (deit_tiny) and `measure_deit3()` (deit3_tiny) return rows that a test asserts and a
report prints; they need no torch.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle

from ppcore import losses
from ppcore.reproduce import fidelity
from ppcore.reproduce.fidelity import Row
from ppdeit.deit import DistilledVisionTransformer
from ppdeit.deit3 import PAPER, DeiT3
from ppdeit.distill import Distillation

Arrays = Mapping[str, np.ndarray]


def measure(path: Path) -> list[Row]:
    """The distilled model: stages, both heads and their mean, every gradient, 40 steps of three distillations."""
    facts, arrays = fidelity.read(path)
    rows = _one_pass(facts, arrays)
    for name, recipe in facts["training"]["runs"].items():
        rows += fidelity.training(
            _distilled(facts, arrays),
            facts,
            arrays,
            name,
            criterion=_criterion(recipe),
            batch=lambda rows: _batch(arrays, rows),
        )
    return rows


def _one_pass(facts: Mapping, arrays: Arrays) -> list[Row]:
    """Stages, both heads and their mean, soft distillation's loss and every gradient."""
    model = _distilled(facts, arrays)
    given = _batch(arrays, list(range(len(arrays["stages/logits"]))))

    def forward(x: paddle.Tensor) -> dict:
        stages = model.forward_intermediates(x)
        cls_logits, dist_logits = model.forward_heads(stages["norm"])
        return stages | {"cls_logits": cls_logits, "dist_logits": dist_logits}

    def loss(stages: dict) -> paddle.Tensor:
        return _criterion(facts["loss"])((stages["cls_logits"], stages["dist_logits"]), given)

    return list(fidelity.one_pass(model, arrays, loss=loss, forward=forward))


def _criterion(recipe: Mapping) -> Distillation:
    """The distillation of a recipe. Its teacher hands on what the batch holds in the images' place: stored logits."""
    options = {key: recipe[key] for key in ("mode", "alpha", "tau", "kl") if key in recipe}
    return Distillation(base=losses.CrossEntropy(), teacher=lambda logits: logits, **options)


def _batch(arrays: Arrays, rows: list[int]) -> dict:
    """Target probabilities, and the teacher's logits as `image`."""
    names = {"target": "soft_targets", "image": "teacher_logits"}
    return {key: paddle.to_tensor(arrays[name][rows]) for key, name in names.items()}


def measure_deit3(path: Path) -> list[Row]:
    """DeiT III: stages, every gradient, 40 steps of binary cross-entropy with AdamW and with LAMB."""
    facts, arrays = fidelity.read(path)
    rows = _one_pass_deit3(facts, arrays)
    for name in facts["training"]["runs"]:
        rows += fidelity.training(
            _deit3(facts, arrays),
            facts,
            arrays,
            name,
            criterion=losses.BinaryCrossEntropy(),
            batch=lambda rows: {"target": paddle.to_tensor(arrays["mixed_targets"][rows])},
        )
    return rows


def _one_pass_deit3(facts: Mapping, arrays: Arrays) -> list[Row]:
    """Stages, binary cross-entropy and every gradient."""
    target = paddle.to_tensor(arrays["mixed_targets"][: len(arrays["stages/logits"])])

    def loss(stages: dict) -> paddle.Tensor:
        return losses.BinaryCrossEntropy()(stages["logits"], {"target": target})

    return list(fidelity.one_pass(_deit3(facts, arrays), arrays, loss=loss))


def _distilled(facts: Mapping, arrays: Arrays) -> DistilledVisionTransformer:
    return fidelity.filled(DistilledVisionTransformer(**facts["config"]), arrays)


def _deit3(facts: Mapping, arrays: Arrays) -> DeiT3:
    return fidelity.filled(DeiT3(**PAPER, **facts["config"]), arrays)

"""DeiT and DeiT III against the stored numbers of other implementations (see ppdeit/reference_deit.py)."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore import losses, optim
from ppcore.layers import LayerScale
from ppcore.reproduce import fidelity
from ppdeit import DeiT3, DistilledVisionTransformer, distill
from ppdeit.reference_deit import DeiT3Reference, DeiTReference

FOLDER = Path(__file__).parents[1] / "fidelity_data"
DEIT, DEIT3 = FOLDER / "deit_tiny.npz", FOLDER / "deit3_tiny.npz"


@pytest.mark.parametrize(
    ("reference", "path", "count"),
    [(DeiTReference, DEIT, 7 + 3 * 3), (DeiT3Reference, DEIT3, 5 + 2 * 3)],
)
def test_every_row_is_within_its_tolerance(reference, path, count):
    check_rows(reference, path, count)


@pytest.mark.parametrize("path", [DEIT, DEIT3])
def test_the_files_are_small_and_say_where_they_come_from(path):
    facts = json.loads(path.with_suffix(".json").read_text())
    assert path.stat().st_size < 300_000
    check_origin(path)
    assert set(facts["versions"]) >= {"torch", "transformers"}


def test_the_stored_trainings_learn_and_differ():
    """Flat or equal curves would prove nothing."""
    arrays = np.load(DEIT)
    ends = []
    for name in ("hard", "soft", "numel"):
        curve = arrays[f"runs/{name}/loss"]
        assert len(curve) == 40
        assert curve[-1] < 0.7 * curve[0], name
        ends.append(curve[-1])
    assert min(abs(a - b) for i, a in enumerate(ends) for b in ends[:i]) > 0.1
    arrays = np.load(DEIT3)
    assert arrays["runs/lamb/grad_norm"][0] > 1  # the clip acts
    assert (arrays["runs/lamb/grad_norm"] < 1).any()  # and does not always
    assert abs(arrays["runs/lamb/loss"][-1] - arrays["runs/bce/loss"][-1]) > 0.05


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_swapped_heads(self, monkeypatch):
        own = DistilledVisionTransformer.forward_heads
        monkeypatch.setattr(DistilledVisionTransformer, "forward_heads", lambda m, tokens: own(m, tokens)[::-1])
        failed = beyond(fidelity.measure(DeiTReference, DEIT))
        assert {"cls logits", "dist logits", "loss"} <= failed
        assert "40 steps of AdamW, hard distillation: loss" in failed
        assert "logits" not in failed  # their mean cannot tell

    def test_swapped_tokens(self, monkeypatch):
        def swapped(model, x):
            prefix = paddle.concat([model.dist_token, model.cls_token], axis=1).expand([x.shape[0], -1, -1])
            return paddle.concat([prefix, x], axis=1) + model.pos_embed

        monkeypatch.setattr(DistilledVisionTransformer, "add_tokens", swapped)
        assert "patch and position embedding" in beyond(fidelity.measure(DeiTReference, DEIT))

    def test_the_other_normalisation_of_kl(self, monkeypatch):
        own, other = distill.soft_distillation, {"batchmean": "numel", "numel": "batchmean"}
        monkeypatch.setattr(
            distill, "soft_distillation", lambda student, teacher, tau, kl: own(student, teacher, tau, other[kl])
        )
        failed = beyond(fidelity.measure(DeiTReference, DEIT))
        for name in ("batchmean", "numel"):
            assert f"40 steps of AdamW, soft distillation ({name}): loss" in failed
        assert "40 steps of AdamW, hard distillation: loss" not in failed

    def test_the_teachers_probabilities_for_its_decision(self, monkeypatch):
        monkeypatch.setattr(
            distill,
            "hard_distillation",
            lambda student, teacher, smoothing: losses.soft_cross_entropy(
                student, paddle.nn.functional.softmax(teacher)
            ),
        )
        failed = beyond(fidelity.measure(DeiTReference, DEIT))
        assert "40 steps of AdamW, hard distillation: loss" in failed
        assert "loss" not in failed

    def test_a_distillation_token_that_does_not_decay(self, monkeypatch):
        own = optim.make
        monkeypatch.setattr(
            optim,
            "make",
            lambda model, factory, *, no_weight_decay, **kwargs: own(
                model, factory, no_weight_decay=[*no_weight_decay, "dist_token"], **kwargs
            ),
        )
        assert any("every final tensor" in what for what in beyond(fidelity.measure(DeiTReference, DEIT)))

    def test_layer_scale_left_out(self, monkeypatch):
        monkeypatch.setattr(LayerScale, "forward", lambda layer, x: x + 0 * layer.gamma)
        assert {"tokens after every block and the final norm", "logits", "loss"} <= beyond(
            fidelity.measure(DeiT3Reference, DEIT3)
        )

    def test_the_class_token_before_the_positions(self, monkeypatch):
        def late(model, x):
            x = paddle.concat([model.cls_token.expand([x.shape[0], -1, -1]), x], axis=1)
            return x + paddle.concat([model.pos_embed[:, :1], model.pos_embed], axis=1)

        monkeypatch.setattr(DeiT3, "add_tokens", late)
        assert "patch and position embedding" in beyond(fidelity.measure(DeiT3Reference, DEIT3))

    def test_targets_that_are_not_binarised(self, monkeypatch):
        plain = losses.BinaryCrossEntropy(binarize=False)
        monkeypatch.setattr(losses, "BinaryCrossEntropy", lambda: plain)
        failed = beyond(fidelity.measure(DeiT3Reference, DEIT3))
        assert {"loss", "40 steps of LAMB, binary cross-entropy, clip 1: loss"} <= failed
        assert "logits" not in failed

    @pytest.mark.parametrize("fault", ["always_adapt", "no clip"])
    def test_another_lamb(self, monkeypatch, fault):
        if fault == "always_adapt":
            own = paddle.optimizer.Lamb
            monkeypatch.setattr(paddle.optimizer, "Lamb", lambda **kwargs: own(**kwargs, always_adapt=True))
        else:
            own = optim.clip_grad_norm
            monkeypatch.setattr(optim, "clip_grad_norm", lambda parameters, limit: own(parameters, None))
        failed = beyond(fidelity.measure(DeiT3Reference, DEIT3))
        assert "40 steps of LAMB, binary cross-entropy, clip 1: loss" in failed
        assert "40 steps of AdamW, binary cross-entropy: loss" not in failed

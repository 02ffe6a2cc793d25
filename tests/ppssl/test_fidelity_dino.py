"""Our DINO against the stored numbers of torch (see ppssl/reference_dino.py), and mistakes that they tell."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore import optim
from ppcore.reproduce import fidelity
from ppssl import DINO, DINOLoss, dino_vit
from ppssl.dino_head import WeightNormLinear
from ppssl.reference_dino import DINOReference

DATA = Path(__file__).parents[1] / "fidelity_data" / "dino_tiny.npz"


def test_every_row_is_within_its_tolerance():
    check_rows(DINOReference, DATA, 6 + 2 * 8)


def test_the_file_is_small_says_where_it_comes_from_and_its_training_learns():
    check_origin(DATA)
    assert DATA.stat().st_size < 300_000
    arrays = np.load(DATA)
    assert arrays["frozen/loss"][-1] < 0.5 * arrays["frozen/loss"][0]
    over = arrays["frozen/gradients"] > 0.15
    assert 0.5 < over.mean() < 0.9, "some gradients are clipped"
    starts = [arrays[f"weights/{who}.head.last_layer.weight_v"] for who in ("student", "teacher")]
    assert np.abs(starts[0] - starts[1]).max() > 1, "a teacher of its own"
    assert np.abs(arrays["weights/criterion.center"]).max() > 0.1


def with_recipe(recipe: dict):
    """The reference by another recipe, and the stored arrays."""
    facts, arrays = fidelity.read(DATA)
    facts["training"] |= recipe
    return DINOReference(facts), arrays


def one_pass(**recipe) -> set[str]:
    """What the one pass finds beyond its tolerance."""
    return beyond(fidelity.one_pass(*with_recipe(recipe)))


def trained(run: str = "frozen", **recipe) -> set[str]:
    """What is beyond its tolerance of a training, by the ends of its rows."""
    return {row.partition(": ")[2] for row in beyond(fidelity.training(*with_recipe(recipe), run))}


FEATURES, OUTPUTS = "class tokens of global and local crops", "outputs of student and teacher"
TARGETS, CENTRE = "targets and their entropy", "centre after a step"
STUDENT, TEACHER = (f"norm of every tensor of the {who} after every step" for who in ("student", "teacher"))
STEPS, FINAL = "centre after every step", "norm of every final tensor but qkv biases"


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_nothing_wrong(self):
        assert not one_pass()

    def test_another_temperature_of_the_student(self):
        assert "loss" in one_pass(student_temperature=0.11)

    def test_another_temperature_of_the_teacher(self):
        assert {TARGETS, "loss"} <= one_pass(warmup_temperature=0.041)

    def test_a_teacher_that_is_not_centred(self, monkeypatch):
        own = DINOLoss.targets
        monkeypatch.setattr(DINOLoss, "targets", lambda self, t, tau: own(self, t + self.center, tau))
        assert TARGETS in one_pass()

    def test_a_centre_of_another_momentum(self):
        assert one_pass(center_momentum=0.89) == {CENTRE}

    def test_a_centre_that_moves_before_the_loss(self, monkeypatch):
        own, move = DINOLoss.targets, DINOLoss.update_center

        def targets(self, teacher, temperature):
            move(self, teacher.mean(axis=0, keepdim=True))
            return own(self, teacher, temperature)

        monkeypatch.setattr(DINOLoss, "targets", targets)
        monkeypatch.setattr(DINOLoss, "update_center", lambda self, mean: None)
        assert {TARGETS, "loss"} <= one_pass()

    def test_a_crop_compared_with_itself(self, monkeypatch):
        def forward(self, student, targets):
            log_p = paddle.nn.functional.log_softmax(student / self.student_temperature).chunk(4)
            pairs = [-(q * p).sum(axis=-1).mean() for q in targets.chunk(2) for p in log_p]
            return sum(pairs) / len(pairs)

        monkeypatch.setattr(DINOLoss, "forward", forward)
        assert "loss" in one_pass()

    def test_positions_resampled_by_size(self, monkeypatch):
        def by_size(table, old, new):
            grid = table[:, 1:].transpose([0, 2, 1]).reshape([1, -1, *old])
            grid = paddle.nn.functional.interpolate(grid, size=list(new), mode="bicubic")
            return paddle.concat([table[:, :1], grid.flatten(2).transpose([0, 2, 1])], axis=1)

        monkeypatch.setattr(dino_vit, "resampled_positions", by_size)
        assert {FEATURES, OUTPUTS} <= one_pass()

    def test_lengths_of_the_inputs_in_place_of_the_outputs(self, monkeypatch):
        """What Paddle's own `weight_norm` does to a linear layer by default."""

        def forward(self, x):
            length = paddle.sqrt(self.weight_v.square().sum(axis=1, keepdim=True))
            return paddle.matmul(x, self.weight_v * self.weight_g / length)

        monkeypatch.setattr(WeightNormLinear, "forward", forward)
        assert OUTPUTS in one_pass()
        assert FEATURES not in one_pass()

    def test_clipped_by_the_norm_of_all(self, monkeypatch):
        monkeypatch.setattr(optim, "clip_each_grad", lambda parameters, clip: optim.clip_grad_norm(parameters, clip))
        assert {"loss", STUDENT, FINAL} <= trained()

    def test_not_clipped(self):
        assert {"loss", STUDENT, FINAL} <= trained(clip=None)

    def test_a_last_layer_whose_gradients_are_zero_at_first(self, monkeypatch):
        """It decays then, and AdamW counts its steps."""

        def limit(self, step):
            optim.clip_each_grad(self.student.parameters(), self.clip)
            if step < self.frozen:
                for p in self.student.head.last_layer.parameters():
                    if p.grad is not None:
                        p.grad.set_value(paddle.zeros_like(p.grad))

        monkeypatch.setattr(DINO, "limit_gradients", limit)
        assert {STUDENT, FINAL} <= trained()

    def test_a_last_layer_that_trains_at_once(self):
        assert {"loss", STUDENT} <= trained(freeze_epochs=0)

    def test_lengths_that_train_where_they_are_frozen(self):
        reference, arrays = with_recipe({})
        optimizer = reference.optimizer
        reference.optimizer = lambda model, run: optimizer(model, "free")
        found = beyond(fidelity.training(reference, arrays, "frozen"))
        assert {STUDENT, FINAL} <= {row.partition(": ")[2] for row in found}

    def test_a_teacher_that_follows_the_student_before_its_step(self, monkeypatch):
        """One update late."""
        limit, follow = DINO.limit_gradients, DINO.after_update

        def before(self, step):
            follow(self, step)
            limit(self, step)

        monkeypatch.setattr(DINO, "limit_gradients", before)
        monkeypatch.setattr(DINO, "after_update", lambda self, step: None)
        assert TEACHER in trained()

    def test_a_centre_of_one_global_crop(self, monkeypatch):
        own = DINO.losses

        def losses(self, batch, step):
            found = list(own(self, batch, step))
            self.seen[-1] = self.teacher([batch["global"][:, 0]]).mean(axis=0, keepdim=True)
            return found

        monkeypatch.setattr(DINO, "losses", losses)
        assert {STEPS, FINAL} <= trained()

    @pytest.mark.parametrize(
        ("recipe", "told"),
        [
            (dict(momentum=0.91), TEACHER),
            (dict(weight_decay=[0.04, 0.04]), STUDENT),
            (dict(temperature_warmup_epochs=4), "entropy of the teacher's targets"),
            (dict(temperature=0.071), "entropy of the teacher's targets"),
            (dict(warmup_epochs=2), STUDENT),
            (dict(min_lr=0.0), STUDENT),
        ],
        ids=str,
    )
    def test_another_recipe(self, recipe, told):
        assert told in trained(**recipe)

"""Losses of unlabelled images at their edges, the tasks' refusals, and schedules that go with them."""

import numpy as np
import paddle
import pytest
from ssl_configs import ALLOW, written

from ppcore.config.durations import Duration, Plan
from ppcore.errors import ConfigError
from ppssl import LinspaceCosine, Ramp, SevenSixteenths
from ppssl.semi_losses import (
    confident,
    fixmatch_loss,
    pseudo_label_loss,
    sigmoid_cross_entropy,
    soft_fixmatch_loss,
)
from ppssl.semi_task import labelled, monitors

SURE, TIE = [8.0, 0.0, 0.0], [0.0, 0.0, -1e4]


def logits(*rows):
    return paddle.to_tensor(rows, stop_gradient=False)


class TestLosses:
    def test_a_tie_at_the_threshold(self):
        """≥ keeps it, > does not; the label is the first of the tie."""
        for strict, kept in ((False, 1.0), (True, 0.0)):
            label, found = confident(logits(TIE), 0.5, strict)
            assert label.tolist() == [0]
            assert found.tolist() == [kept]

    def test_divided_by_all_not_by_the_kept(self):
        weak, strong = logits(SURE, [0.1, 0.0, 0.0]), logits([0.0, 1.0, 0.0], [3.0, 0.0, 0.0])
        loss, kept = fixmatch_loss(weak, strong, 0.95)
        assert kept.tolist() == [1, 0]
        assert float(loss) == pytest.approx(np.log(2 + np.e) / 2, rel=1e-6)
        loss.backward()
        assert weak.grad is None
        assert (strong.grad[1] == 0).all()
        assert (strong.grad[0] != 0).all()

    def test_none_confident_costs_nothing(self):
        loss, kept = fixmatch_loss(logits([0.1, 0.0, 0.0]), logits(SURE), 0.95)
        assert (float(loss), kept.tolist()) == (0.0, [0])

    def test_at_a_low_temperature_soft_is_hard(self):
        weak, strong = logits([2.0, 1.0, 0.0], SURE), logits([0.3, 0.2, 0.1], [1.0, 2.0, 3.0])
        hard, soft = fixmatch_loss(weak, strong, 0.5)[0], soft_fixmatch_loss(weak, strong, 0.5, 0.01)[0]
        assert float(soft) == pytest.approx(float(hard), rel=1e-5)
        assert float(soft_fixmatch_loss(weak, strong, 0.5)[0]) != pytest.approx(float(hard), rel=1e-2)

    def test_sure_wrong_outputs_cost_what_they_should(self):
        """Paddle's own cuts a cross-entropy at 64 on a CPU."""
        x = logits([0.0, 200.0, 0.0])
        assert float(fixmatch_loss(logits(SURE), x, 0.5)[0]) == pytest.approx(200, rel=1e-6)
        assert float(sigmoid_cross_entropy(x, paddle.to_tensor([0]))) == pytest.approx(200 + 2 * np.log(2), rel=1e-6)

    def test_pseudo_labels_sharpen(self):
        x = logits([1.0, 0.0, 0.0])
        pseudo_label_loss(x)[0].backward()
        assert x.grad[0, 0] < 0 < x.grad[0, 1]


class TestTasks:
    def test_monitors_know_the_labels_where_there_are_some(self):
        one, x = paddle.ones([]), logits(SURE, SURE, [0.0, 9.0, 0.0])
        kept = paddle.to_tensor([1.0, 1.0, 0.0])
        found = monitors(one, one, kept, x, {"label": paddle.to_tensor([0, 1, 1])})
        assert float(found["kept"]) == pytest.approx(2 / 3)
        assert float(found["kept_right"]) == pytest.approx(1 / 3)
        assert "kept_right" not in monitors(one, one, kept, x, {})

    def test_without_labelled_images(self):
        with pytest.raises(ConfigError, match=r"DataLoader\.Beside\.labelled"):
            labelled({"image": paddle.zeros([1])}, "ppssl.FixMatch")

    @pytest.mark.parametrize(
        ("method", "option", "said"),
        [
            ("fixmatch", "DataLoader.Beside={}", "name data in DataLoader.Beside.labelled"),
            ("fixmatch", "Task.threshold=1.2", "threshold is 1.2"),
            ("fixmatch", "DataLoader.Beside.labelled.batch_size=50", "larger than the training set of 40 images"),
            ("fixmatch", "DataLoader.Beside.labelled.dataset.times=0", "times"),
            ("fixmatch", "DataLoader.Beside.labelled.batchsize=5", "batchsize"),
            ("fixmatch", "Arch.num_classes=7", "out of range for a model with 7 outputs"),
            ("pseudo", "Task.threshold=0.5", "sigmoid outputs have no threshold"),
            ("pseudo", "Task.weight.start.steps=7", "is before start"),
        ],
    )
    def test_what_cannot_be_is_said(self, tmp_path, tool, method, option, said):
        done = tool("train", "-c", written(method, tmp_path), *ALLOW, "-o", option)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr


class TestSchedules:
    PLAN = Plan(10, 512, 100)

    def test_the_peak_is_used_twice(self):
        rates = LinspaceCosine(base_lr=0.5, final=0.1, warmup=Duration(steps=5), reference_batch=256).bind(self.PLAN)
        np.testing.assert_allclose([rates(step) for step in range(6)], [0, 0.25, 0.5, 0.75, 1, 1])
        assert 0.1 < rates(99) < 0.1005

    @pytest.mark.parametrize(("warmup", "first"), [(0, 0.996), (1, 0.0)])
    def test_short_warm_ups(self, warmup, first):
        values = LinspaceCosine(base_lr=0.996, final=1.0, warmup=Duration(steps=warmup)).bind(self.PLAN)
        assert values(0) == first
        assert values(warmup) == pytest.approx(0.996)
        assert max(values(step) for step in range(100)) < 1

    def test_ends_at_a_fifth(self):
        rate = SevenSixteenths(base_lr=0.03).bind(self.PLAN)
        assert rate(0) == 0.03
        assert rate(100) == pytest.approx(0.03 * np.cos(7 * np.pi / 16))

    def test_ends_at_a_fifth_after_a_warm_up(self):
        rate = SevenSixteenths(base_lr=0.03, warmup=Duration(steps=20)).bind(self.PLAN)
        assert [rate(0), rate(5), rate(20)] == pytest.approx([0, 0.0075, 0.03])
        assert rate(60) == pytest.approx(0.03 * np.cos(7 * np.pi / 32))
        assert rate(100) == pytest.approx(0.03 * np.cos(7 * np.pi / 16))

    def test_ramps(self):
        values = Ramp(peak=3.0, start=Duration(epochs=1.0), end=Duration(epochs=6.0)).bind(self.PLAN)
        assert [values(step) for step in (0, 10, 35, 60, 99)] == [0, 0, 1.5, 3, 3]
        assert Ramp(end=Duration(steps=0)).bind(self.PLAN)(0) == 1

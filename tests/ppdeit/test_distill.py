"""Distillation's losses and criterion against their definitions in double precision."""

import numpy as np
import paddle
import pytest

import ppdeit
from ppcore import losses
from ppcore.errors import ConfigError

B, K = 6, 10


@pytest.fixture
def logits():
    rng = np.random.default_rng(5)
    return [(scale * rng.standard_normal((B, K))).astype(np.float32) for scale in (1.0, 2.0, 3.0)]


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(np.float64(z) - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(z: np.ndarray, target: np.ndarray) -> float:
    return float(-(target * np.log(softmax(z))).sum(-1).mean())


class Given:
    """A teacher whose answer is given."""

    def __init__(self, answer: np.ndarray):
        self.answer = paddle.to_tensor(answer)

    def __call__(self, images):
        return self.answer


def criterion(answer: np.ndarray, **options) -> ppdeit.Distillation:
    return ppdeit.Distillation(base=losses.CrossEntropy(), teacher=Given(answer), **options)


def a_batch() -> dict:
    return {"image": paddle.zeros([B, 3, 2, 2]), "label": paddle.arange(B)}


class TestSoft:
    @pytest.mark.parametrize("tau", [1.0, 3.0])
    @pytest.mark.parametrize("kl", ["batchmean", "numel"])
    def test_value_and_gradient(self, logits, tau, kl):
        student, _, teacher = logits
        s = paddle.to_tensor(student, stop_gradient=False)
        t = paddle.to_tensor(teacher, stop_gradient=False)
        loss = ppdeit.soft_distillation(s, t, tau, kl)
        p, q = softmax(teacher / tau), softmax(student / tau)
        count = B * K if kl == "numel" else B
        np.testing.assert_allclose(float(loss), tau**2 * (p * np.log(p / q)).sum() / count, rtol=1e-6)
        loss.backward()
        np.testing.assert_allclose(s.grad.numpy(), tau * (q - p) / count, rtol=1e-4, atol=1e-8)
        assert t.grad is None

    def test_the_two_divisors_differ_by_the_number_of_classes(self, logits):
        student, _, teacher = map(paddle.to_tensor, logits)
        strong = float(ppdeit.soft_distillation(student, teacher, 3.0, "batchmean"))
        weak = float(ppdeit.soft_distillation(student, teacher, 3.0, "numel"))
        np.testing.assert_allclose(strong, K * weak, rtol=1e-5)

    def test_a_student_that_agrees_has_no_loss(self, logits):
        t = paddle.to_tensor(logits[2])
        assert abs(float(ppdeit.soft_distillation(t, t, 2.0))) < 1e-6

    def test_extreme_logits_stay_finite(self):
        s = paddle.to_tensor([[1e4, -1e4, 0.0]], stop_gradient=False)
        loss = ppdeit.soft_distillation(s, paddle.to_tensor([[-1e4, 1e4, 0.0]]))
        loss.backward()
        assert float(loss) == 2e4
        assert np.isfinite(s.grad.numpy()).all()

    def test_unknown_divisor(self, logits):
        with pytest.raises(ValueError, match="batchmean"):
            ppdeit.soft_distillation(*map(paddle.to_tensor, logits[:2]), 1.0, "mean")


class TestHard:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_value(self, logits, smoothing):
        student, _, teacher = logits
        decision = np.eye(K)[teacher.argmax(-1)] * (1 - smoothing) + smoothing / K
        got = float(ppdeit.hard_distillation(paddle.to_tensor(student), paddle.to_tensor(teacher), smoothing))
        np.testing.assert_allclose(got, cross_entropy(student, decision), rtol=1e-6)


class TestCriterion:
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("mode", ["soft", "hard"])
    def test_on_the_token(self, logits, alpha, mode):
        first, second, teacher = logits
        outputs = tuple(paddle.to_tensor(v, stop_gradient=False) for v in (first, second))
        loss = criterion(teacher, mode=mode, alpha=alpha, tau=2.0)(outputs, a_batch())
        base = cross_entropy(first, np.eye(K)[np.arange(B)])
        p, q = softmax(teacher / 2), softmax(second / 2)
        soft = 4 * (p * np.log(p / q)).sum() / B
        distilled = soft if mode == "soft" else cross_entropy(second, np.eye(K)[teacher.argmax(-1)])
        np.testing.assert_allclose(float(loss), (1 - alpha) * base + alpha * distilled, rtol=1e-6)
        loss.backward()
        assert outputs[0].grad.numpy().any() == (alpha < 1)
        assert outputs[1].grad.numpy().any() == (alpha > 0)

    def test_on_the_class_both_terms_share_the_output(self, logits):
        student, _, teacher = logits
        got = float(criterion(teacher, through="class")(paddle.to_tensor(student), a_batch()))
        base = cross_entropy(student, np.eye(K)[np.arange(B)])
        np.testing.assert_allclose(got, (base + cross_entropy(student, np.eye(K)[teacher.argmax(-1)])) / 2, rtol=1e-6)

    def test_smoothed_decisions(self, logits):
        student, _, teacher = logits
        got = float(
            criterion(teacher, through="class", alpha=1.0, teacher_smoothing=0.2)(paddle.to_tensor(student), a_batch())
        )
        target = np.eye(K)[teacher.argmax(-1)] * 0.8 + 0.02
        np.testing.assert_allclose(got, cross_entropy(student, target), rtol=1e-6)

    def test_it_wraps_any_base_and_mixed_targets(self, logits):
        first, second, teacher = logits
        target = np.full((B, K), 0.0, np.float32)
        target[:, :2] = 0.5
        batch = a_batch() | {"target": paddle.to_tensor(target)}
        wrapped = ppdeit.Distillation(base=losses.BinaryCrossEntropy(), teacher=Given(teacher), alpha=0.25)
        got = float(wrapped((paddle.to_tensor(first), paddle.to_tensor(second)), batch))
        base = float(losses.BinaryCrossEntropy()(paddle.to_tensor(first), batch))
        hard = cross_entropy(second, np.eye(K)[teacher.argmax(-1)])
        np.testing.assert_allclose(got, 0.75 * base + 0.25 * hard, rtol=1e-6)

    def test_one_output_where_two_are_needed(self, logits):
        with pytest.raises(ConfigError, match="distilled model in training mode"):
            criterion(logits[2])(paddle.to_tensor(logits[0]), a_batch())
        with pytest.raises(ConfigError, match="distilled model in training mode"):
            ppdeit.BothHeads(base=losses.CrossEntropy())(paddle.to_tensor(logits[0]), a_batch())

    def test_two_outputs_where_one_is_needed(self, logits):
        with pytest.raises(ConfigError, match="set through: token"):
            criterion(logits[2], through="class")(tuple(map(paddle.to_tensor, logits[:2])), a_batch())

    def test_a_teacher_of_other_classes(self, logits):
        with pytest.raises(ConfigError, match="same num_classes"):
            criterion(logits[2][:, :4], through="class")(paddle.to_tensor(logits[0]), a_batch())

    @pytest.mark.parametrize(
        "options",
        [
            dict(alpha=1.5),
            dict(tau=0.0),
            dict(teacher_smoothing=1.0),
            dict(mode="medium"),
            dict(kl="sum"),
            dict(through="patch"),
            dict(mode="soft", teacher_smoothing=0.1),
        ],
        ids=str,
    )
    def test_out_of_range(self, logits, options):
        with pytest.raises(ValueError, match=next(iter(options)) if len(options) == 1 else "teacher_smoothing"):
            criterion(logits[2], **options)


def test_both_heads_on_the_same_labels(logits):
    got = float(ppdeit.BothHeads(base=losses.CrossEntropy())(tuple(map(paddle.to_tensor, logits[:2])), a_batch()))
    eye = np.eye(K)[np.arange(B)]
    np.testing.assert_allclose(got, (cross_entropy(logits[0], eye) + cross_entropy(logits[1], eye)) / 2, rtol=1e-6)

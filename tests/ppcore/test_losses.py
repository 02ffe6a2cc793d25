"""Losses against numpy, torch's formulas and finite differences."""

import numpy as np
import paddle
import pytest

from ppcore import losses
from ppcore.config import components, roles
from ppcore.errors import ConfigError


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def bce(x, t):
    """Mean binary cross-entropy of logits, in the form that cannot overflow."""
    return (np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))).mean()


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((6, 10)) * 3
    label = rng.integers(0, 10, 6)
    target = rng.dirichlet(np.ones(10), 6)
    return logits.astype("float32"), label, target.astype("float32")


def value(criterion, logits, **batch):
    return float(criterion(paddle.to_tensor(logits), {k: paddle.to_tensor(v) for k, v in batch.items()}))


class TestCrossEntropy:
    def test_soft_targets_are_used_as_they_are(self, case):
        logits, label, target = case
        want = -(target.astype(np.float64) * log_softmax(logits.astype(np.float64))).sum(1).mean()
        np.testing.assert_allclose(value(losses.CrossEntropy(), logits, label=label, target=target), want, rtol=1e-5)

    def test_soft_targets_are_not_softmaxed(self):
        # PaddleClas's CELoss puts one-hot targets through a softmax: 20.25 where 0.61 is right.
        rng = np.random.default_rng(1)
        logits = rng.standard_normal((4, 10)) * 10
        label = logits.argmax(1)
        target = np.eye(10)[label] * 0.9 + 0.01
        got = value(losses.CrossEntropy(), logits.astype("float32"), target=target.astype("float32"))
        right = -(target * log_softmax(logits)).sum(1).mean()
        wrong = -(np.exp(log_softmax(target)) * log_softmax(logits)).sum(1).mean()
        assert wrong > 3 * right
        np.testing.assert_allclose(got, right, rtol=1e-5)

    def test_one_hot_targets_equal_labels(self, case):
        logits, label, _ = case
        hard = value(losses.CrossEntropy(), logits, label=label)
        soft = value(losses.CrossEntropy(), logits, target=np.eye(10, dtype="float32")[label])
        np.testing.assert_allclose(hard, soft, rtol=1e-6)
        want = -log_softmax(logits.astype(np.float64))[np.arange(6), label].mean()
        np.testing.assert_allclose(hard, want, rtol=1e-5)

    @pytest.mark.parametrize("s", [0.1, 0.3, 0.9])
    def test_smoothing_is_torchs(self, case, s):
        logits, label, _ = case
        logs = log_softmax(logits.astype(np.float64))
        want = ((1 - s) * -logs[np.arange(6), label] + s * -logs.mean(1)).mean()
        np.testing.assert_allclose(value(losses.CrossEntropy(label_smoothing=s), logits, label=label), want, rtol=1e-5)

    @pytest.mark.parametrize("s", [-0.1, 1.0, 2.0, float("nan")])
    def test_smoothing_out_of_range(self, s):
        with pytest.raises(ValueError, match="label_smoothing"):
            losses.CrossEntropy(label_smoothing=s)

    def test_smoothing_twice_is_refused(self, case):
        logits, label, target = case
        with pytest.raises(ConfigError, match="label_smoothing") as raised:
            value(losses.CrossEntropy(label_smoothing=0.1), logits, label=label, target=target)
        assert "\n" not in str(raised.value)

    def test_huge_logits_stay_finite(self):
        # F.cross_entropy and F.log_softmax cut a probability at e^-64 on a CPU, which would end the loss at 64.
        logits = np.array([[1e4, 1e4 - 200, 0.0]], "float32")
        for batch in (dict(label=np.array([1])), dict(target=np.array([[0.0, 1.0, 0.0]], "float32"))):
            np.testing.assert_allclose(value(losses.CrossEntropy(), logits, **batch), 200, rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_precision_outputs_are_lifted_to_float32(self, case, dtype):
        logits, label, target = case
        low = paddle.to_tensor(logits).astype(dtype)
        lifted = low.astype("float32").numpy()
        for batch in (dict(label=label), dict(target=target)):
            loss = losses.CrossEntropy()(low, {k: paddle.to_tensor(v) for k, v in batch.items()})
            assert loss.dtype == paddle.float32
            np.testing.assert_allclose(float(loss), value(losses.CrossEntropy(), lifted, **batch), rtol=1e-6)


class TestBinaryCrossEntropy:
    def test_labels_become_one_hot(self, case):
        logits, label, _ = case
        want = bce(logits.astype(np.float64), np.eye(10)[label])
        np.testing.assert_allclose(value(losses.BinaryCrossEntropy(), logits, label=label), want, rtol=1e-5)

    def test_binarize_makes_both_mixed_classes_positive(self, case):
        logits, label, _ = case
        target = 0.3 * np.eye(10)[label] + 0.7 * np.eye(10)[label[::-1]]
        got = value(losses.BinaryCrossEntropy(), logits, target=target.astype("float32"))
        np.testing.assert_allclose(got, bce(logits.astype(np.float64), target > 0), rtol=1e-5)
        soft = value(losses.BinaryCrossEntropy(binarize=False), logits, target=target.astype("float32"))
        np.testing.assert_allclose(soft, bce(logits.astype(np.float64), target), rtol=1e-5)
        assert abs(got - soft) > 1e-2

    def test_smoothed_targets_cannot_be_binarised(self, case):
        logits, label, _ = case
        target = losses.smoothed_one_hot(paddle.to_tensor(label), 10, 0.1).numpy()
        with pytest.raises(ConfigError, match="label_smoothing") as raised:
            value(losses.BinaryCrossEntropy(), logits, target=target)
        assert "\n" not in str(raised.value)
        want = bce(logits.astype(np.float64), target)
        np.testing.assert_allclose(
            value(losses.BinaryCrossEntropy(binarize=False), logits, target=target), want, rtol=1e-5
        )

    def test_huge_logits_stay_finite(self):
        got = value(losses.BinaryCrossEntropy(), np.array([[1e4, -1e4]], "float32"), label=np.array([1]))
        np.testing.assert_allclose(got, 1e4, rtol=1e-6)


class TestSmoothedOneHot:
    def test_values(self):
        got = losses.smoothed_one_hot(paddle.to_tensor([2, 0]), 4, 0.2).numpy()
        np.testing.assert_allclose(got, [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]], atol=1e-7)
        assert got.dtype == np.float32

    def test_without_smoothing_it_is_one_hot(self):
        np.testing.assert_array_equal(losses.smoothed_one_hot(paddle.to_tensor([1]), 3).numpy(), [[0, 1, 0]])


@pytest.mark.parametrize("name", ["hard", "smoothed", "soft", "bce_label", "bce_binarize", "bce_soft"])
def test_gradients_equal_finite_differences(case, name):
    logits, label, target = case
    mixed = (0.3 * np.eye(10)[label] + 0.7 * np.eye(10)[label[::-1]]).astype("float32")
    criterion, batch, formula = {
        "hard": (
            losses.CrossEntropy(),
            dict(label=label),
            lambda x: -(np.eye(10)[label] * log_softmax(x)).sum(1).mean(),
        ),
        "smoothed": (
            losses.CrossEntropy(label_smoothing=0.1),
            dict(label=label),
            lambda x: -((np.eye(10)[label] * 0.9 + 0.01) * log_softmax(x)).sum(1).mean(),
        ),
        "soft": (losses.CrossEntropy(), dict(target=target), lambda x: -(target * log_softmax(x)).sum(1).mean()),
        "bce_label": (losses.BinaryCrossEntropy(), dict(label=label), lambda x: bce(x, np.eye(10)[label])),
        "bce_binarize": (losses.BinaryCrossEntropy(), dict(target=mixed), lambda x: bce(x, mixed > 0)),
        "bce_soft": (losses.BinaryCrossEntropy(binarize=False), dict(target=mixed), lambda x: bce(x, mixed)),
    }[name]
    x = paddle.to_tensor(logits, stop_gradient=False)
    criterion(x, {k: paddle.to_tensor(v) for k, v in batch.items()}).backward()
    base, step = logits.astype(np.float64), 1e-5
    numeric = np.zeros_like(base)
    for place in np.ndindex(*base.shape):
        up, down = base.copy(), base.copy()
        up[place] += step
        down[place] -= step
        numeric[place] = (formula(up) - formula(down)) / (2 * step)
    np.testing.assert_allclose(x.grad.numpy(), numeric, rtol=1e-4, atol=1e-6)


class TestGolden:
    @pytest.fixture
    def arrays(self, golden):
        path = golden / "targets_losses_s0.npz"
        if not path.is_file():
            pytest.skip(f"no targets_losses_s0.npz in {golden}")
        return np.load(path)

    def test_cross_entropy(self, arrays):
        logits, labels = arrays["logits"], arrays["labels"].astype("int64")
        hard = value(losses.CrossEntropy(), logits, label=labels)
        np.testing.assert_allclose(hard, arrays["ce"].item(), rtol=0, atol=1e-6)
        smooth = value(losses.CrossEntropy(label_smoothing=0.1), logits, label=labels)
        for name in ("label_smoothing_ce_0.1", "torch_ce_label_smoothing_0.1"):
            np.testing.assert_allclose(smooth, arrays[name].item(), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("lam", ["1.0", "0.3", "0.73"])
    @pytest.mark.parametrize("smooth", ["0.0", "0.1"])
    def test_soft_targets(self, arrays, lam, smooth):
        logits, target = arrays["logits"], arrays[f"target_lam{lam}_smooth{smooth}"]
        end = f"lam{lam}_smooth{smooth}"
        got = value(losses.CrossEntropy(), logits, target=target)
        np.testing.assert_allclose(got, arrays[f"softce_{end}"].item(), rtol=0, atol=1e-6)
        got = value(losses.BinaryCrossEntropy(binarize=False), logits, target=target)
        np.testing.assert_allclose(got, arrays[f"bce_soft_{end}"].item(), rtol=0, atol=1e-6)
        if smooth == "0.0":
            got = value(losses.BinaryCrossEntropy(), logits, target=target)
            np.testing.assert_allclose(got, arrays[f"bce_gt0_{end}"].item(), rtol=0, atol=1e-6)
        else:  # the reference turns every target into 1 here; ours refuses
            assert (target > 0).all()
            with pytest.raises(ConfigError):
                value(losses.BinaryCrossEntropy(), logits, target=target)


class Scaled:
    """A criterion that is given the run."""

    def __init__(self, *, factor: float = 1.0, run=None):
        self.factor, self.run = factor, run

    def __call__(self, outputs, batch):
        return self.factor * (outputs - batch["target"]).abs().mean()


class TestSum:
    outputs, batch = paddle.to_tensor([1.0, 4.0]), {"target": paddle.to_tensor([0.0, 1.0])}  # mean distance 2

    def test_adds_weighted(self):
        terms = {"one": Scaled(), "other": Scaled(factor=10.0)}
        assert float(losses.Sum(terms=terms)(self.outputs, self.batch)) == 22
        assert float(losses.Sum(terms=terms, weights={"other": 0.25})(self.outputs, self.batch)) == 7
        assert float(losses.Sum(terms=terms, weights={"one": 0})(self.outputs, self.batch)) == 20

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"terms": {}}, "at least one"),
            ({"terms": {"a": Scaled()}, "weights": {"b": 1.0}}, r"weights\.b: there is no such term, only a"),
            ({"terms": {"a": Scaled()}, "weights": {"a": -1.0}}, "must not be negative"),
            ({"terms": {"a": Scaled()}, "weights": {"a": float("nan")}}, "a finite number"),
        ],
    )
    def test_what_is_refused(self, arguments, match):
        with pytest.raises(ConfigError, match=match):
            losses.Sum(**arguments)

    def test_its_terms_are_given_the_run(self, monkeypatch):
        monkeypatch.setattr(losses, "Scaled", Scaled, raising=False)
        monkeypatch.setattr(Scaled, "__module__", "ppcore.losses")
        node = {"name": "ppcore.losses.Sum", "terms": {"a": {"name": "ppcore.losses.Scaled", "factor": 3.0}}}
        components.check(node, "Loss", roles.CRITERION)
        run = object()
        assert components.build(node, run=run).terms["a"].run is run

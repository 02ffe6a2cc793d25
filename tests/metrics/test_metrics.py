"""Top-k accuracy against scikit-learn, and the cases accuracy code gets wrong."""

import warnings

import numpy as np
import paddle
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from ppcore.errors import ConfigError
from ppcore.metrics import TopK


def measured(logits, labels, topk=(1, 5), batch=None):
    metric = TopK(topk=topk)
    for start in range(0, len(labels), batch or len(labels)):
        part = slice(start, start + (batch or len(labels)))
        metric.update(paddle.to_tensor(np.asarray(logits, "float32")[part]), {"label": np.asarray(labels)[part]})
    return metric.compute()


@pytest.mark.parametrize("classes", [6, 10, 37])
def test_equals_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((200, classes)).astype("float32") * 4
    labels = rng.integers(0, classes, 200)
    got = measured(logits, labels, topk=(1, 3, 5))
    for k in (1, 3, 5):
        want = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(classes))
        assert got[f"top{k}"] == pytest.approx(want, abs=1e-12)
    wide = logits.astype(np.float64)
    p = np.exp(wide - wide.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    assert got["loss"] == pytest.approx(log_loss(labels, p, labels=np.arange(classes)), rel=1e-6)
    assert got["n"] == 200


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_does_not_depend_on_the_batch_size(batch):
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((200, 10)), rng.integers(0, 10, 200)
    got, want = measured(logits, labels, batch=batch), measured(logits, labels)
    assert {k: v for k, v in got.items() if k != "loss"} == {k: v for k, v in want.items() if k != "loss"}
    assert got["loss"] == pytest.approx(want["loss"], rel=1e-12)


def test_processes_are_merged_by_adding_sums():
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((101, 10)), rng.integers(0, 10, 101)
    parts = []
    for rank in range(3):
        metric = TopK()
        metric.update(paddle.to_tensor(logits[rank::3].astype("float32")), {"label": labels[rank::3]})
        parts.append(metric)
    merged = TopK()
    for part in parts:
        merged.sums = merged.sums + part.sums
    want = measured(logits, labels)
    got = merged.compute()
    assert (got["n"], got["top1"], got["top5"]) == (101, want["top1"], want["top5"])
    assert got["loss"] == pytest.approx(want["loss"], rel=1e-12)


def test_ties_go_to_the_smaller_index():
    # Constant logits must not score 100 %: class 0 is the one prediction.
    logits = np.zeros((10, 10))
    got = measured(logits, np.arange(10), topk=(1, 5))
    assert (got["top1"], got["top5"]) == (0.1, 0.5)
    assert got["loss"] == pytest.approx(np.log(10))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_wrong_for_every_k(bad):
    logits = np.eye(6) * 5
    for column in range(6):
        broken = logits.copy()
        broken[2, column] = bad
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = measured(broken, np.arange(6), topk=(1, 5, 6))
        assert got["n"] == 6
        assert got["top1"] == got["top5"] == got["top6"] == pytest.approx(5 / 6)
        # The mean loss says so: it is no number, rather than a mean over fewer rows.
        assert not np.isfinite(got["loss"]) or bad == -np.inf


def test_huge_logits_have_a_finite_loss():
    got = measured([[1e30, 0.0], [0.0, 1e30]], [0, 0], topk=(1,))
    assert got["top1"] == 0.5
    assert got["loss"] == pytest.approx(5e29, rel=1e-6)


def test_fewer_classes_than_k():
    got = measured([[1.0, 0.0, -1.0], [3.0, 2.0, 1.0]], [2, 0], topk=(1, 5))
    assert got["top1"] == 0.5
    assert got["top5"] == 1.0


def test_half_precision_and_labels_as_tensors():
    rng = np.random.default_rng(4)
    logits = paddle.to_tensor(rng.standard_normal((32, 10)).astype("float32")).astype("float16")
    labels = rng.integers(0, 10, 32)
    metric = TopK()
    metric.update(logits, {"label": paddle.to_tensor(labels)})
    want = measured(logits.astype("float32").numpy(), labels)
    assert metric.compute() == pytest.approx(want, rel=1e-12)


def test_nothing_evaluated():
    with pytest.raises(ConfigError, match="nothing was evaluated"):
        TopK().compute()


@pytest.mark.parametrize("topk", [[], [0], [-1, 5]])
def test_nonsense_k(topk):
    with pytest.raises(ConfigError, match="topk"):
        TopK(topk=topk)


def test_a_repeated_k_is_one_key():
    assert set(measured([[1.0, 0.0]], [0], topk=(1, 1, 5))) == {"n", "loss", "top1", "top5"}

"""NT-Xent, k nearest neighbours, the probe's head and the losses of unlabelled images against the references'."""

import filling
import numpy as np
import paddle
import pytest

from ppcore import optim
from ppcore.metrics.knn import neighbours, votes
from ppssl.ntxent import NTXent
from ppssl.probe_head import ProbeHead
from ppssl.semi_losses import (
    confident,
    fixmatch_loss,
    masked_cross_entropy,
    pseudo_label_loss,
    sigmoid_cross_entropy,
    soft_fixmatch_loss,
)


def tensor(array):
    return paddle.to_tensor(array, stop_gradient=False)


@pytest.mark.parametrize("path", filling.files("ssl_ntxent"))
def test_ntxent(path):
    _, arrays = filling.load(path)
    cases = [name.removesuffix("/loss") for name in arrays if name.startswith("tau") and name.endswith("/loss")]
    assert len(cases) == 6
    gaps = filling.Gaps()
    for case in cases:
        tau, plain = float(case.removeprefix("tau").removesuffix("_no_norm")), case.endswith("_no_norm")
        hidden = tensor(arrays["hidden"])
        views = hidden.chunk(2)
        criterion = NTXent(tau, normalize=not plain)
        each, nearest = criterion.per_anchor(*views)
        loss = criterion(*views)
        loss.backward()
        doubled = NTXent(tau, normalize=not plain, summed=True)(*views)
        gaps.add(f"{case} loss", filling.relative([float(loss)], arrays[f"{case}/loss"]), 1e-5)
        gaps.add(f"{case} doubled", filling.relative([float(doubled)], arrays[f"{case}/official_tf_loss"]), 1e-5)
        gaps.add(f"{case} anchors", filling.gap(each.numpy(), arrays[f"{case}/per_anchor"]), 1e-5)
        gaps.add(f"{case} gradient", filling.gap(hidden.grad.numpy(), arrays[f"{case}/grad"]), 1e-5)
        assert float(nearest) == pytest.approx(float(arrays[f"{case}/contrast_accuracy"][0]), abs=1e-6)
    gaps.check()
    # Halves of the batch on their own are not the whole: negatives must be gathered.
    first, second = paddle.to_tensor(arrays["hidden"]).chunk(2)
    each = NTXent(0.1).per_anchor(first, second)[0].numpy().reshape(2, 2, -1).mean(axis=(0, 2))
    np.testing.assert_allclose(each, arrays["two_replicas_tau0.1/loss_per_replica"], rtol=1e-5)
    alone = [float(NTXent(0.1)(a, b)) for a, b in zip(first.chunk(2), second.chunk(2), strict=True)]
    np.testing.assert_allclose(alone, arrays["two_replicas_tau0.1/loss_without_gather"], rtol=1e-5)


@pytest.mark.parametrize("path", filling.files("ssl_knn"))
def test_knn(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    train, test = arrays["train_features"], arrays["test_features"]
    labels, wanted = arrays["train_labels"], arrays["test_labels"]
    index, cosines = neighbours(train, test, max(config["ks"]))
    for k in config["ks"]:
        np.testing.assert_array_equal(index[:, :k], arrays[f"k{k}/neighbours"])
        found = votes(labels[index[:, :k]], cosines[:, :k], config["C"], config["T"])
        assert filling.gap(found, arrays[f"k{k}/votes"]) < 2e-5
        order = np.argsort(-found, axis=1, kind="stable")
        np.testing.assert_array_equal(order[:, 0], arrays[f"k{k}/prediction"])
        hit = order == wanted[:, None]
        accuracies = 100 * hit[:, 0].mean(), 100 * hit[:, : min(5, k)].any(axis=1).mean()
        np.testing.assert_allclose(accuracies, arrays[f"k{k}/top1_top5"], rtol=1e-12)


@pytest.mark.parametrize("path", filling.files("ssl_linprobe"))
def test_linear_probe(path):
    manifest, arrays = filling.load(path)
    size, start = manifest["config"], filling.weights(manifest)
    head = ProbeHead(size["d"], size["classes"])
    head.linear.weight.set_value(start["1.weight"].T.copy())
    head.linear.bias.set_value(start["1.bias"])
    optimizer = optim.make(head, optim.LARS, weight_decay=0.0, no_weight_decay=[])
    x, y, gaps = paddle.to_tensor(arrays["x"]), paddle.to_tensor(arrays["y"]), filling.Gaps()
    for step, rate in enumerate(arrays["lr"]):
        loss = masked_cross_entropy(head(x), y, paddle.ones(y.shape))
        loss.backward()
        optimizer.set_lr(float(rate))
        optimizer.step()
        optimizer.clear_grad()
        gaps.add(f"loss {step}", abs(float(loss) / arrays["loss"][step] - 1), 2e-5)
    head.eval()
    got = {
        "weight": head.linear.weight.numpy().T,
        "bias": head.linear.bias.numpy(),
        "running_mean": head.norm.running_mean.numpy(),
        "running_var": head.norm.running_var.numpy(),
        "eval_logits": head(paddle.to_tensor(arrays["x_test"])).numpy(),
    }
    for name, value in got.items():
        gaps.add(name, filling.gap(value, arrays[name]), 2e-5)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_semi"))
def test_unlabelled_losses(path):
    _, arrays = filling.load(path)
    weak, labelled, y = (paddle.to_tensor(arrays[n]) for n in ("logits_weak", "logits_x", "labels"))
    gaps, labels = filling.Gaps(), confident(weak, 0.5)[0].numpy()
    np.testing.assert_array_equal(labels, arrays["pseudo_label"])
    supervised = float(masked_cross_entropy(labelled, y, paddle.ones(y.shape)))
    gaps.add("labelled", filling.relative([supervised], arrays["loss_x"]), 1e-5)
    for tau in ("0.5", "0.7", "0.95"):
        case, strong = f"fixmatch_tau{tau}", tensor(arrays["logits_strong"])
        loss, kept = fixmatch_loss(weak, strong, float(tau))
        loss.backward()
        np.testing.assert_array_equal(kept.numpy(), arrays[f"{case}/mask"])
        gaps.add(f"{case}", filling.relative([float(loss)], arrays[f"{case}/loss_u"]), 1e-5)
        gaps.add(f"{case} total", filling.relative([supervised + float(loss)], arrays[f"{case}/total_wu1"]), 1e-5)
        gaps.add(f"{case} gradient", filling.gap(strong.grad.numpy(), arrays[f"{case}/grad_logits_strong"]), 1e-5)
        for temperature, name in ((1.0, "soft_T1_as_usb"), (0.5, "soft_T0.5_sharpened")):
            soft, _ = soft_fixmatch_loss(weak, strong, float(tau), temperature)
            gaps.add(f"{case} {name}", filling.relative([float(soft)], arrays[f"{case}/{name}"]), 1e-5)
        for strict, name in ((True, "greater"), (False, "greater_equal")):
            case, own = f"pseudo_label_tau{tau}/{name}", tensor(arrays["logits_weak"])
            loss, _ = pseudo_label_loss(own, float(tau), strict)
            loss.backward()
            gaps.add(case, filling.relative([float(loss)], arrays[f"{case}/loss"]), 1e-5)
            gaps.add(f"{case} gradient", filling.gap(own.grad.numpy(), arrays[f"{case}/grad_logits"]), 1e-5)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_semi"))
def test_lee(path):
    _, arrays = filling.load(path)
    labelled, y = paddle.to_tensor(arrays["logits_x"]), paddle.to_tensor(arrays["labels"])
    unlabelled = paddle.to_tensor(np.clip(arrays["logits_weak"], -30, 30))
    own, kept = confident(unlabelled, 0.0)
    losses = {
        "lee_sigmoid": (sigmoid_cross_entropy(labelled, y), sigmoid_cross_entropy(unlabelled, own)),
        "lee_softmax": (
            masked_cross_entropy(labelled, y, paddle.ones(y.shape)), pseudo_label_loss(unlabelled)[0],
        ),
    }  # fmt: skip
    assert kept.numpy().all(), "Lee's have no threshold"
    assert filling.relative([float(losses["lee_sigmoid"][0])], arrays["lee_sigmoid/labelled"]) < 1e-5
    for name, (known, unknown) in losses.items():
        for alpha in ("0.0", "1.5", "3.0"):
            total = float(known) + float(alpha) * float(unknown)
            assert filling.relative([total], arrays[f"{name}/total_alpha{alpha}"]) < 1e-5


@pytest.mark.parametrize("path", filling.files("ssl_semi"))
def test_decay_of_kernels_is_a_term_of_the_loss(path):
    """½ wd |w|² in the loss is wd · w in the gradient: what `ppcore.optim.Momentum` does."""
    _, arrays = filling.load(path)
    kernel = arrays["l2/kernel"].astype(np.float64)
    assert 0.5 * 0.0005 * (kernel**2).sum() == pytest.approx(float(arrays["l2/value_wd0.0005"][0]), rel=1e-6)
    layer = paddle.nn.Linear(*kernel.shape)
    layer.weight.set_value(arrays["l2/kernel"])
    optimizer = optim.make(layer, optim.Momentum, weight_decay=0.0005, no_weight_decay=["1d"], nesterov=True)
    optimizer.set_lr(1.0)
    (layer.weight * 0.0).sum().backward()
    optimizer.step()
    moved = arrays["l2/kernel"] - layer.weight.numpy()
    np.testing.assert_allclose(moved, 1.9 * 0.0005 * kernel, rtol=1e-3, atol=1e-9)  # Nesterov's first step: (1 + m) · g

"""The torch version that the stored references of FixMatch and pseudo-labels come from: its losses against the golden numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "golden")]
import filling  # noqa: E402
import torch_semi  # noqa: E402

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("path", filling.files("ssl_semi"))
def test_losses(path):
    _, arrays = filling.load(path)
    weak, known = (torch.from_numpy(arrays[name]).double() for name in ("logits_weak", "logits_x"))
    labels = torch.from_numpy(arrays["labels"])
    np.testing.assert_array_equal(torch_semi.most_likely(weak)[1].numpy(), arrays["pseudo_label"])
    supervised = torch_semi.cross_entropy(known, labels).mean()
    assert float(supervised) == pytest.approx(float(arrays["loss_x"][0]), rel=1e-12)
    for tau in (0.5, 0.7, 0.95):
        case, strong = f"fixmatch_tau{tau}", torch.from_numpy(arrays["logits_strong"]).double().requires_grad_()
        loss, kept = torch_semi.fixmatch(weak, strong, tau)
        loss.backward()
        np.testing.assert_array_equal(kept.detach().numpy(), arrays[f"{case}/mask"])
        assert loss.item() == pytest.approx(float(arrays[f"{case}/loss_u"][0]), rel=1e-12)
        np.testing.assert_allclose(strong.grad.numpy(), arrays[f"{case}/grad_logits_strong"], atol=1e-14)
        for temperature, name in ((1.0, "soft_T1_as_usb"), (0.5, "soft_T0.5_sharpened")):
            soft, _ = torch_semi.fixmatch_soft(weak, strong, tau, temperature)
            assert soft.item() == pytest.approx(float(arrays[f"{case}/{name}"][0]), rel=1e-12)
        for strict, name in ((True, "greater"), (False, "greater_equal")):
            case, own = f"pseudo_label_tau{tau}/{name}", weak.clone().requires_grad_()
            loss, _ = torch_semi.pseudo_label(own, tau, strict)
            loss.backward()
            assert loss.item() == pytest.approx(float(arrays[f"{case}/loss"][0]), rel=1e-12)
            np.testing.assert_allclose(own.grad.numpy(), arrays[f"{case}/grad_logits"], atol=1e-14)


@pytest.mark.parametrize("path", filling.files("ssl_semi"))
def test_lee(path):
    _, arrays = filling.load(path)
    known, labels = torch.from_numpy(arrays["logits_x"]).double(), torch.from_numpy(arrays["labels"])
    unknown = torch.from_numpy(np.clip(arrays["logits_weak"], -30, 30)).double()
    supervised = torch_semi.sigmoid_cross_entropy(known, labels)
    assert float(supervised) == pytest.approx(float(arrays["lee_sigmoid/labelled"][0]), rel=1e-12)
    unlabelled = torch_semi.sigmoid_cross_entropy(unknown, torch_semi.most_likely(unknown)[1])
    for alpha in ("0.0", "1.5", "3.0"):
        total = float(supervised) + float(alpha) * float(unlabelled)
        assert total == pytest.approx(float(arrays[f"lee_sigmoid/total_alpha{alpha}"][0]), rel=1e-9)


def test_ramp():
    assert [torch_semi.ramp(step, 3.0, 100, 600) for step in (0, 100, 350, 600, 900)] == [0, 0, 1.5, 3, 3]

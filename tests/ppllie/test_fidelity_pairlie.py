"""PairLIE against the stored numbers of torch (see ppllie/reference_pairlie.py)."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.reproduce import fidelity
from ppllie import PairLIELoss, pairlie_loss, reflect_conv
from ppllie.reference_pairlie import PairLIEReference, TwoExposures

FILE = Path(__file__).parents[1] / "fidelity_data" / "pairlie_tiny.npz"
PARTS = "illumination, reflectance, denoised image"
TERMS = "every term of the loss"
GRADIENTS = PairLIEReference.gradients[0]


def test_every_row_is_within_its_tolerance():
    check_rows(PairLIEReference, FILE, 5 + 3)


def test_the_file_says_where_it_comes_from_and_its_training_learns():
    check_origin(FILE)
    arrays = np.load(FILE)
    assert arrays["run/loss"][-1] < 0.1 * arrays["run/loss"][0]
    for part in "LRXy":
        assert arrays[f"stages/{part}"].std() > 0.02, f"{part} hardly depends on the image"


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    @pytest.fixture
    def one_pass(self):
        facts, arrays = fidelity.read(FILE)
        return lambda: beyond(fidelity.one_pass(PairLIEReference(facts), arrays))

    def test_nothing_wrong(self, one_pass):
        assert not one_pass()

    def test_zeros_around_the_image(self, one_pass, monkeypatch):
        monkeypatch.setattr(reflect_conv, "_extended", lambda x: F.pad(x, [1, 1, 1, 1]))
        assert {PARTS, "enhanced image", "loss"} <= one_pass()

    def test_the_default_gamma(self):
        facts, arrays = fidelity.read(FILE)
        facts["config"]["gamma"] = 0.2
        assert beyond(fidelity.one_pass(PairLIEReference(facts), arrays)) == {"enhanced image"}

    def test_neighbours_in_the_smoothness(self, one_pass, monkeypatch):
        def neighbours(light):
            return light.diff(axis=2).abs().mean() + light.diff(axis=3).abs().mean()

        monkeypatch.setattr(pairlie_loss, "smoothness", neighbours)
        assert one_pass() == {TERMS, GRADIENTS}  # beside 500 times the projection it is lost in the sum

    def test_the_quotient_reaches_the_illumination(self, one_pass, monkeypatch):
        monkeypatch.setattr(paddle.Tensor, "detach", lambda self: self)
        assert one_pass() == {GRADIENTS}

    def test_the_second_exposure_with_its_noise(self, one_pass, monkeypatch):
        monkeypatch.setattr(TwoExposures, "reflect", lambda self, image: self.reflectance(image))
        assert one_pass() == {TERMS, "loss", GRADIENTS}

    @pytest.mark.parametrize("weights", [{"projection": 499.0}, {"consistency": 2.0}])
    def test_another_weight_in_the_loss(self, one_pass, monkeypatch, weights):
        right = PairLIELoss.__init__
        monkeypatch.setattr(PairLIELoss, "__init__", lambda self: right(self, **weights))
        assert one_pass() == {"loss", GRADIENTS}

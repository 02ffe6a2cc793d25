"""MBLLEN against the stored numbers of torch (see ppllie/reference_mbllen.py)."""

from pathlib import Path

import numpy as np
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.reproduce import fidelity
from ppllie import mbllen, mbllen_loss
from ppllie.reference_mbllen import MBLLENReference

FILE = Path(__file__).parents[1] / "fidelity_data" / "mbllen_tiny.npz"


def test_every_row_is_within_its_tolerance():
    check_rows(MBLLENReference, FILE, 5 + 3)


def test_the_file_says_where_it_comes_from_and_its_training_learns():
    check_origin(FILE)
    arrays = np.load(FILE)
    assert arrays["run/loss"][-1] < 0.95 * arrays["run/loss"][0]
    assert (arrays["stages/y"] > 0).mean() > 0.5


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    @pytest.fixture
    def one_pass(self):
        facts, arrays = fidelity.read(FILE)
        return lambda: beyond(fidelity.one_pass(MBLLENReference(facts), arrays))

    def test_nothing_wrong(self, one_pass):
        assert not one_pass()

    def test_branches_on_features_before_their_relu(self, one_pass, monkeypatch):
        monkeypatch.setattr(mbllen.F, "relu", lambda x: F.leaky_relu(x, 0.01))
        assert {"features", "enhanced image"} <= one_pass()

    @pytest.mark.parametrize(("name", "value"), [("LUMA", (0.299, 0.587, 0.114)), ("DARK", 0.5), ("WEIGHT", 2.0)])
    def test_another_constant_of_the_region(self, one_pass, monkeypatch, name, value):
        monkeypatch.setattr(mbllen_loss, name, value)
        assert "loss" in one_pass()

    def test_the_released_sign(self, one_pass, monkeypatch):
        right = mbllen_loss.dark_pixels
        monkeypatch.setattr(mbllen_loss, "dark_pixels", lambda y, form: right(y, "code"))
        assert "loss" in one_pass()

"""UHDFour against the stored numbers of torch (see ppuhdfour/reference_uhdfour.py)."""

from pathlib import Path

import numpy as np
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.layers.fourier import rfft2
from ppcore.reproduce import fidelity
from ppuhdfour import blocks
from ppuhdfour.reference_uhdfour import UHDFourReference

FILE = Path(__file__).parents[1] / "fidelity_data" / "uhdfour_tiny.npz"


def test_every_row_is_within_its_tolerance():
    check_rows(UHDFourReference, FILE, 2 * 6 + 3)


def test_the_file_says_where_it_comes_from_and_its_training_learns():
    check_origin(FILE)
    curve = np.load(FILE)["run/loss"]
    assert len(curve) == 40
    assert curve[-1] < 0.7 * curve[0]


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    @pytest.fixture
    def one_pass(self):
        facts, arrays = fidelity.read(FILE)
        return lambda: beyond(fidelity.one_pass(UHDFourReference(facts), arrays, "fft"))

    def test_nothing_wrong(self, one_pass):
        assert not one_pass()

    def test_a_phase_without_the_canonical_form(self, one_pass, monkeypatch):
        monkeypatch.setattr(blocks, "rfft2", lambda x, backend, raw: rfft2(x, "matmul", raw=True))
        assert "enhanced image (fft)" in one_pass()

    def test_the_guides_in_the_other_order(self, one_pass, monkeypatch):
        right = blocks.GuidedFrequency.guide
        monkeypatch.setattr(blocks.GuidedFrequency, "guide", lambda self, a, p, given: right(self, a, p, given[::-1]))
        found = one_pass()
        assert "enhanced image (fft)" in found
        assert "amplitude guide (fft)" not in found

    def test_another_slope(self, one_pass, monkeypatch):
        monkeypatch.setattr(blocks, "leaky_relu", lambda x: blocks.F.leaky_relu(x, negative_slope=0.2))
        assert "low-resolution result (fft)" in one_pass()

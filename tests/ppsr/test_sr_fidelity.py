"""SRCNN, FSRCNN, VDSR and SRGAN against the stored numbers of torch (see ppsr/reference_*.py)."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.reproduce import fidelity
from ppsr import adversarial_task, borders, clipping, sr_losses
from ppsr.discriminator import Discriminator
from ppsr.fsrcnn import FSRCNN
from ppsr.reference_fsrcnn import FSRCNNReference
from ppsr.reference_srcnn import SRCNNReference
from ppsr.reference_srgan import SRGANReference
from ppsr.reference_vdsr import VDSRReference
from ppsr.srresnet import Residual
from ppsr.vdsr import VDSR

FOLDER = Path(__file__).parents[1] / "fidelity_data"
REFERENCES = {"srcnn": SRCNNReference, "fsrcnn": FSRCNNReference, "vdsr": VDSRReference, "srgan": SRGANReference}
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


@pytest.mark.parametrize(("name", "rows"), [("srcnn", 8), ("fsrcnn", 8), ("vdsr", 7), ("srgan", 8)])
def test_every_row_is_within_its_tolerance(name, rows):
    check_rows(REFERENCES[name], FOLDER / f"{name}_tiny.npz", rows)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_file_says_where_it_comes_from_and_its_training_learns(name):
    check_origin(FOLDER / f"{name}_tiny.npz")
    arrays = np.load(FOLDER / f"{name}_tiny.npz")
    assert arrays["run/loss"][-1] < 0.7 * arrays["run/loss"][0]


def one_pass(name: str) -> set[str]:
    """What one pass finds beyond its tolerance."""
    facts, arrays = fidelity.read(FOLDER / f"{name}_tiny.npz")
    return beyond(fidelity.one_pass(REFERENCES[name](facts), arrays))


def trained(name: str, **recipe) -> set[str]:
    """What a training finds, with another recipe."""
    facts, arrays = fidelity.read(FOLDER / f"{name}_tiny.npz")
    facts["training"] = {**facts["training"], **recipe}
    return beyond(fidelity.training(REFERENCES[name](facts), arrays, "run"))


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    @pytest.mark.parametrize("name", REFERENCES)
    def test_nothing_wrong(self, name):
        assert not one_pass(name)

    def test_an_edge_of_zeros_where_it_is_repeated(self, monkeypatch):
        monkeypatch.setattr(borders, "replicated", lambda x, by: F.pad(x, [by] * 4))
        assert one_pass("srcnn") == {"image, the edge repeated"}

    @pytest.mark.parametrize("name", ["srcnn", "fsrcnn"])
    def test_the_last_layer_at_the_rate_of_the_others(self, name):
        assert len(trained(name, last_rate=1.0)) == 3

    def test_the_kernel_one_pixel_off_at_x3(self, monkeypatch):
        begin = FSRCNN.__init__  # the authors' code says so, and their files need the other
        monkeypatch.setattr(FSRCNN, "__init__", lambda self, **o: begin(self, **{"shift": 0} | o))
        assert {"image three times larger", "loss"} <= one_pass("fsrcnn")
        assert "image twice larger" not in one_pass("fsrcnn")

    def test_no_residual(self, monkeypatch):
        forward = VDSR.forward
        monkeypatch.setattr(VDSR, "forward", lambda self, x: forward(self, x) - x)
        assert {"image", "loss"} <= one_pass("vdsr")

    def test_a_loss_that_is_a_mean(self, monkeypatch):
        begin = sr_losses.SquaredError.__init__
        monkeypatch.setattr(sr_losses.SquaredError, "__init__", lambda self, **o: begin(self))
        assert "loss" in one_pass("vdsr")

    def test_gradients_cut_at_theta_itself(self, monkeypatch):
        cut = clipping._ByRate._dygraph_clip

        def fixed(self, pairs):
            rate = self.optimizer.get_lr
            self.optimizer.get_lr = lambda: 1.0
            try:
                return cut(self, pairs)
            finally:
                self.optimizer.get_lr = rate

        monkeypatch.setattr(clipping._ByRate, "_dygraph_clip", fixed)
        assert len(trained("vdsr")) == 3

    def test_gradients_that_are_not_cut(self):
        assert len(trained("vdsr", theta=1e3)) == 3

    def test_an_activation_after_the_sum_of_a_block(self, monkeypatch):
        forward = Residual.forward
        monkeypatch.setattr(Residual, "forward", lambda self, x: F.relu(forward(self, x)))
        assert {"image in evaluation", "image in training"} <= one_pass("srgan")

    def test_the_discriminator_learns_from_the_generators_step(self, monkeypatch):
        monkeypatch.setattr(adversarial_task, "without_gradients", lambda network: _nothing())
        assert one_pass("srgan") == {"gradient of every parameter of both networks and of the images"}

    def test_another_slope_of_the_discriminator(self, monkeypatch):
        forward = Discriminator.forward

        def steeper(self, x):
            for layer in self.sublayers():
                if isinstance(layer, paddle.nn.LeakyReLU):
                    layer._negative_slope = 0.1
            return forward(self, x)

        monkeypatch.setattr(Discriminator, "forward", steeper)
        assert {"logits of made images", "loss"} <= one_pass("srgan")

    def test_another_weight_of_the_adversarial_loss(self, monkeypatch):
        losses = adversarial_task.SRGAN.losses

        def heavier(self, batch, step):
            self.weight = 2e-3
            return losses(self, batch, step)

        monkeypatch.setattr(adversarial_task.SRGAN, "losses", heavier)
        assert "loss" in one_pass("srgan")


class _nothing:
    def __enter__(self):
        pass

    def __exit__(self, *error):
        pass

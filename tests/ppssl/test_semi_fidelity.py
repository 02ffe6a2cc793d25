"""FixMatch and pseudo-labels against the stored numbers of torch (see ppssl/reference_fixmatch.py), and mistakes that they tell."""

from itertools import islice
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.ema import EMA
from ppcore.reproduce import fidelity
from ppssl import semi_losses, semi_task, wide_resnet
from ppssl.reference_fixmatch import KEPT, FixMatchReference, PseudoLabelReference
from ppssl.semi_losses import masked_cross_entropy
from ppssl.ssl_schedules import Ramp

FOLDER = Path(__file__).parents[1] / "fidelity_data"
REFERENCES = {"fixmatch": FixMatchReference, "pseudo_label": PseudoLabelReference}
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
EDGES, TRAINED = "what is kept at the threshold, and its loss", {"loss", "gradient norm", "norm of every final tensor"}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_row_is_within_its_tolerance(name):
    check_rows(REFERENCES[name], FOLDER / f"{name}_tiny.npz", 6 + 2 * 4)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_file_is_small_says_where_it_comes_from_and_decides_something(name):
    check_origin(FOLDER / f"{name}_tiny.npz")
    assert (FOLDER / f"{name}_tiny.npz").stat().st_size < 150_000
    facts, arrays = fidelity.read(FOLDER / f"{name}_tiny.npz")
    for run, recipe in facts["training"]["runs"].items():
        kept = arrays[f"{run}/kept"]
        if recipe["threshold"]:
            assert 0 < kept.min() < kept.max() <= 1
            assert 0.2 < kept.mean() < 0.9, "some are confident, some are not"
    loss = arrays[f"{next(iter(facts['training']['runs']))}/loss"]
    assert loss[-1] < 0.6 * loss[0], "it learns"


def one_pass(name: str, rows: int = 5) -> set[str]:
    """What the forward pass finds beyond its tolerance; with 6 rows the gradients, too."""
    facts, arrays = fidelity.read(FOLDER / f"{name}_tiny.npz")
    return beyond(islice(fidelity.one_pass(REFERENCES[name](facts), arrays), rows))


def trained(run: str, recipe: dict | None = None, **settings) -> set[str]:
    """What a training with other settings finds, by the ends of its rows, but for the share that is kept."""
    name = "fixmatch" if run in ("hard", "soft") else "pseudo_label"
    facts, arrays = fidelity.read(FOLDER / f"{name}_tiny.npz")
    facts["training"] |= settings
    facts["training"]["runs"][run] |= recipe or {}
    rows = beyond(fidelity.training(REFERENCES[name](facts), arrays, run))
    return {row.rpartition(": ")[2] for row in rows} - {KEPT}


def of_the_kept(logits, labels, kept):
    """The sum over the number of those that are kept, not of all."""
    return masked_cross_entropy(logits, labels, kept) / kept.mean().clip(min=1e-6)


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    @pytest.mark.parametrize("name", REFERENCES)
    def test_divided_by_the_kept(self, monkeypatch, name):
        monkeypatch.setattr(semi_losses, "masked_cross_entropy", of_the_kept)
        assert EDGES in one_pass(name)

    @pytest.mark.parametrize("name", REFERENCES)
    def test_passed_where_reached_is_enough_or_the_other_way(self, monkeypatch, name):
        own = semi_losses.confident
        monkeypatch.setattr(semi_losses, "confident", lambda logits, tau, strict=False: own(logits, tau, not strict))
        assert one_pass(name) == {EDGES}

    def test_a_gradient_through_the_weak_view(self, monkeypatch):
        def leaking(weak, strong, threshold, temperature=1.0):
            _, kept = semi_losses.confident(weak, threshold)
            target = F.softmax(weak / temperature, axis=-1)
            return (-(target * F.log_softmax(strong, axis=-1)).sum(axis=-1) * kept).mean(), kept

        monkeypatch.setattr(semi_task, "soft_fixmatch_loss", leaking)
        monkeypatch.setattr(paddle.Tensor, "detach", lambda self: self)
        assert trained("soft") >= {"loss", "gradient norm"}

    def test_the_strong_view_teaches_the_weak_one(self, monkeypatch):
        own = semi_task.fixmatch_loss
        monkeypatch.setattr(semi_task, "fixmatch_loss", lambda weak, strong, tau: own(strong, weak, tau))
        assert "loss" in one_pass("fixmatch")

    def test_a_temperature_that_is_not_applied(self):
        """As in USB's code."""
        assert trained("soft", {"soft_temperature": 1.0}) == TRAINED

    @pytest.mark.parametrize("recipe", [{"weight": 1.0}, {"threshold": 0.95}], ids=str)
    def test_another_weight_or_threshold(self, recipe):
        assert trained("hard", recipe) == TRAINED

    def test_no_average(self):
        assert trained("hard", ema=0.0) == {"norm of every final tensor"}

    def test_an_average_that_leaves_the_statistics_out(self, monkeypatch):
        own = EMA._followed

        def weights(self):
            return {name: t for name, t in own(self).items() if not name.endswith(("_mean", "_variance"))}

        update = EMA.update

        def partly(self, masters=None):
            monkeypatch.setattr(EMA, "_followed", weights)
            update(self, masters)
            monkeypatch.setattr(EMA, "_followed", own)

        monkeypatch.setattr(EMA, "update", partly)
        assert trained("hard") == {"norm of every final tensor"}

    @pytest.mark.parametrize("settings", [{"weight_decay": 0.0}, {"momentum": 0.8}, {"lr": 0.021}], ids=str)
    def test_another_optimizer(self, settings):
        assert trained("hard", **settings) == TRAINED

    @pytest.mark.parametrize("ramp", [{"start": 0}, {"end": 40}, {"peak": 1.0}], ids=str)
    def test_another_ramp(self, ramp):
        facts, _ = fidelity.read(FOLDER / "pseudo_label_tiny.npz")
        assert trained("lee", {"ramp": facts["training"]["runs"]["lee"]["ramp"] | ramp}) == TRAINED

    def test_a_ramp_that_is_a_step(self, monkeypatch):
        own = Ramp.bind
        monkeypatch.setattr(Ramp, "bind", lambda self, plan: lambda step: float(own(self, plan)(step) > 0))
        assert trained("google") == TRAINED

    def test_unlabelled_images_normalised_with_the_labelled(self):
        assert trained("google", {"apart": False}) == TRAINED

    def test_statistics_of_the_unlabelled_as_well(self, monkeypatch):
        monkeypatch.setattr(semi_task, "_NORMS", ())
        assert trained("google") == {"norm of every final tensor"}

    def test_lees_loss_as_one_of_k(self):
        assert trained("lee", {"sigmoid": False}) == TRAINED

    @pytest.mark.parametrize(("what", "value"), [("SLOPE", 0.01), ("SLOPE", 0.0)])
    def test_another_activation(self, monkeypatch, what, value):
        monkeypatch.setattr(wide_resnet, what, value)
        assert "maps after the groups" in one_pass("fixmatch")

    def test_the_shortcut_before_the_activation(self, monkeypatch):
        begin = wide_resnet.PreActivationUnit.__init__
        monkeypatch.setattr(
            wide_resnet.PreActivationUnit,
            "__init__",
            lambda self, *a, **k: begin(self, *a, **k | {"activated_shortcut": False}),
        )
        assert "maps after the groups" in one_pass("fixmatch")

    def test_padding_on_all_sides(self, monkeypatch):
        own = wide_resnet._conv

        def padded(*arguments):
            layer = own(*arguments)
            layer._padding = layer._updated_padding = [arguments[2] // 2] * 2
            layer._padding_algorithm = "EXPLICIT"
            return layer

        monkeypatch.setattr(wide_resnet, "_conv", padded)
        assert "maps after the groups" in one_pass("fixmatch")

    def test_norms_of_another_epsilon(self, monkeypatch):
        monkeypatch.setattr(
            wide_resnet, "_norm", lambda channels: paddle.nn.BatchNorm2D(channels, momentum=0.999, epsilon=1e-5)
        )
        assert {"maps after the groups", "last map, its mean and logits"} <= one_pass("fixmatch")

    def test_statistics_that_move_at_torchs_default(self, monkeypatch):
        monkeypatch.setattr(
            wide_resnet, "_norm", lambda channels: paddle.nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-3)
        )
        assert trained("hard") == {"norm of every final tensor"}


def test_the_stored_average_is_no_copy_of_the_weights():
    arrays = np.load(FOLDER / "fixmatch_tiny.npz")
    final = arrays["hard/final_norms"]
    half = len(final) // 2
    assert np.abs(final[:half] / final[half:] - 1).max() > 1e-2

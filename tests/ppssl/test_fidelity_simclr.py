"""Our SimCLR against the stored numbers of torch (see ppssl/reference_simclr.py), and mistakes that they tell."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore import optim
from ppcore.optim.lars import LarsOptimizer
from ppcore.reproduce import fidelity
from ppssl import NTXent, ProjectionHead, ntxent
from ppssl.reference_simclr import SimCLRReference, SmallEncoder

DATA = Path(__file__).parents[1] / "fidelity_data" / "simclr_tiny.npz"
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


def test_every_row_is_within_its_tolerance():
    check_rows(SimCLRReference, DATA, 5 + 2 * 5)


def test_the_file_is_small_says_where_it_comes_from_and_its_training_learns():
    check_origin(DATA)
    assert DATA.stat().st_size < 300_000
    arrays = np.load(DATA)
    assert arrays["decayed/loss"][-1] < 0.5 * arrays["decayed/loss"][0]
    assert 3e-3 < arrays["decayed/moved"][-1].max() < 1e-2


def one_pass(**recipe) -> set[str]:
    """What the one pass finds beyond its tolerance."""
    facts, arrays = fidelity.read(DATA)
    facts["training"] |= recipe
    return beyond(fidelity.one_pass(SimCLRReference(facts), arrays))


def trained(run: str = "decayed", optimizer=None, **recipe) -> set[str]:
    """What is beyond its tolerance of a training, by the ends of its rows; `optimizer` makes another than LARS."""
    facts, arrays = fidelity.read(DATA)
    facts["training"] |= recipe
    reference = SimCLRReference(facts)
    if optimizer:
        own = reference.optimizer

        def other(model, run):
            own(model, run)
            return optimizer(model, facts["training"]["weight_decay"][run])

        reference.optimizer = other
    return {row.partition(": ")[2] for row in beyond(fidelity.training(reference, arrays, run))}


def lars(**options):
    """A maker of our LARS with other options."""

    def made(model, decay):
        given = {"weight_decay": decay, "no_weight_decay": ["1d"], "form": "rate_inside"} | options
        return optim.make(model, optim.LARS, **given)

    return made


def paddles(model, decay):
    """Paddle's LARS, whose exclusion is a decay of 0."""
    trained = [p for p in model.parameters() if not p.stop_gradient]
    return paddle.incubate.optimizer.LarsMomentumOptimizer(
        0.0, 0.9, lars_weight_decay=decay, parameter_list=trained,
        exclude_from_weight_decay=[p.name for p in trained if p.ndim == 1],
    )  # fmt: skip


ANCHORS, MOVED = "loss of each anchor", "how far every matrix has moved after every step"
NORMS, FINAL = "norm of every parameter after every step", "norm of every final tensor"


class TestAFaultOfTheLossIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_nothing_wrong(self):
        assert not one_pass()

    def test_another_temperature(self):
        assert {ANCHORS, "loss"} <= one_pass(temperature=0.51)

    def test_a_view_among_its_own_negatives(self, monkeypatch):
        """2 N in place of 2 N - 1."""
        monkeypatch.setattr(ntxent, "_OUT", 0.0)
        assert {ANCHORS, "loss"} <= one_pass()

    def test_negatives_of_the_other_view_alone(self, monkeypatch):
        """N - 1 in place of 2 N - 2."""

        def per_anchor(self, first, second):
            first, second = ntxent.unit_rows(first), ntxent.unit_rows(second)
            own = paddle.arange(first.shape[0])
            logits = [
                paddle.matmul(a, b, transpose_y=True) / self.temperature for a, b in ((first, second), (second, first))
            ]
            losses = [F.cross_entropy(each, own, reduction="none").flatten() for each in logits]
            return paddle.concat(losses), paddle.zeros([])

        monkeypatch.setattr(NTXent, "per_anchor", per_anchor)
        assert {ANCHORS, "loss"} <= one_pass()

    def test_products_in_place_of_cosines(self, monkeypatch):
        monkeypatch.setattr(ntxent, "unit_rows", lambda x: x)
        assert {ANCHORS, "loss"} <= one_pass()

    def test_the_sum_of_both_directions(self, monkeypatch):
        """What the official code minimises is twice the paper's loss."""
        own = NTXent.measured
        monkeypatch.setattr(NTXent, "measured", lambda self, a, b: (2 * own(self, a, b)[0], own(self, a, b)[1]))
        assert {"loss", "gradient of every parameter and of both views"} == one_pass()

    def test_another_loss_in_it(self, monkeypatch):
        """PASSL's SimCLR adds three times a consistency term: how the two views of an image see all others should agree."""
        own = NTXent.measured

        def measured(self, first, second):
            loss, nearest = own(self, first, second)
            a, b = ntxent.unit_rows(first), ntxent.unit_rows(second)
            seen = [F.log_softmax(paddle.matmul(one, b, transpose_y=True) / self.temperature, axis=1) for one in (a, b)]
            apart = [(p.exp() * (p - q)).sum(axis=1).mean() for p, q in (seen, seen[::-1])]
            return loss + 3 * 0.5 * sum(apart), nearest

        monkeypatch.setattr(NTXent, "measured", measured)
        assert {"loss", "gradient of every parameter and of both views"} == one_pass()
        assert {"loss", NORMS, MOVED, FINAL} <= trained()


class TestAFaultOfTheNetworkIsNoticed:
    def test_a_head_without_an_activation(self, monkeypatch):
        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

        monkeypatch.setattr(ProjectionHead, "forward", forward)
        assert {"projections", "loss"} <= one_pass()
        assert "features of both views" not in one_pass()

    def test_each_view_with_norms_of_its_own(self, monkeypatch):
        own = SmallEncoder.forward
        monkeypatch.setattr(SmallEncoder, "forward", lambda self, x: paddle.concat([own(self, v) for v in x.chunk(2)]))
        assert "features of both views" in one_pass()

    def test_statistics_that_move_at_torchs_number(self, monkeypatch):
        begin = SmallEncoder.__init__

        def other(self, width):
            begin(self, width)
            self.bn1._momentum = 0.1

        monkeypatch.setattr(SmallEncoder, "__init__", other)
        assert trained() == {FINAL}


class TestAFaultOfLarsIsNoticed:
    def test_nothing_wrong(self):
        assert not trained("plain", lars())

    @pytest.mark.parametrize("form", ["rate_outside", "trust_of_buffer"])
    def test_the_rate_outside(self, form):
        assert MOVED in trained("decayed", lars(form=form))

    def test_nesterov(self):
        assert {"loss", MOVED} <= trained("decayed", lars(nesterov=True))

    def test_another_coefficient(self):
        assert trained("plain", lars(trust_coefficient=1.01e-3)) >= {MOVED}

    def test_vectors_that_decay(self):
        assert NORMS in trained("decayed", lars(no_weight_decay=[]))

    def test_vectors_with_a_trust_ratio(self, monkeypatch):
        def trust(self, p, update):
            return self.trust_coefficient * p.square().sum().sqrt() / update.square().sum().sqrt()

        monkeypatch.setattr(LarsOptimizer, "_trust", trust)
        assert {"loss", NORMS, FINAL} <= trained()

    def test_an_epsilon_in_the_ratio(self, monkeypatch):
        own = LarsOptimizer._trust

        def trust(self, p, update):
            if p.name not in self.adapted:
                return 1.0
            norm = update.square().sum().sqrt()
            return own(self, p, update) * norm / (norm + 1e-3)

        monkeypatch.setattr(LarsOptimizer, "_trust", trust)
        assert MOVED in trained()

    def test_a_ratio_without_the_decay(self, monkeypatch):
        """|w| / |g|."""
        own = LarsOptimizer._trust
        decay = 1e-2
        monkeypatch.setattr(LarsOptimizer, "_trust", lambda self, p, update: own(self, p, update - decay * p))
        assert MOVED in trained()

    def test_paddles_divides_by_the_sum_of_two_norms(self):
        assert {"loss", MOVED} <= trained("decayed", paddles)

    def test_paddles_has_no_ratio_without_decay(self):
        found = trained("plain", paddles)
        assert {"loss", "gradient norm", NORMS, MOVED, FINAL} == found

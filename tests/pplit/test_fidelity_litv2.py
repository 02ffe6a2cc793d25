"""Our LITv2 against the stored numbers of torch (see pplit/reference_litv2.py), and mistakes that they tell."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore import optim
from ppcore.reproduce import fidelity
from pplit import HiLo, LITv2, token_merging
from pplit.conv_ffn import ConvFFN
from pplit.reference_litv2 import LITv2Reference
from pplit.token_merging import DeformConv2x2, TokenMerging

DATA = Path(__file__).parents[1] / "fidelity_data" / "litv2_tiny.npz"
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


def test_every_row_is_within_its_tolerance():
    check_rows(LITv2Reference, DATA, 7 + 3)


def test_the_file_is_small_says_where_it_comes_from_and_its_training_learns():
    check_origin(DATA)
    assert DATA.stat().st_size < 700_000
    loss = np.load(DATA)["run/loss"]
    assert loss[-1] < 0.5 * loss[0]
    facts = json.loads(DATA.with_suffix(".json").read_text())
    assert min(facts["mean_offset"]) > 0.3, "offsets move the taps"


def one_pass(**config) -> set[str]:
    """What the forward pass finds beyond its tolerance."""
    facts, arrays = fidelity.read(DATA)
    facts["config"] |= config
    return beyond(islice(fidelity.one_pass(LITv2Reference(facts), arrays), 5 + 1))


def trained(**recipe) -> set[str]:
    """What is beyond its tolerance of a training with another recipe, by the ends of its rows."""
    facts, arrays = fidelity.read(DATA)
    facts["training"] |= recipe
    rows = beyond(fidelity.training(LITv2Reference(facts), arrays, "run"))
    return {row.partition(": ")[2] for row in rows}


ALL = {"loss", "gradient norm", "norm of every final tensor"}
MERGED = "maps after deformable merging"


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_nothing_wrong(self):
        assert not one_pass()

    def test_offsets_that_move_nothing(self, monkeypatch):
        plain = lambda self, x: F.conv2d(x, self.weight, self.bias, stride=2)  # noqa: E731
        monkeypatch.setattr(DeformConv2x2, "forward", plain)
        assert MERGED in one_pass()

    def test_offsets_as_x_and_y(self, monkeypatch):
        own = token_merging.deform_conv2d

        def swapped(x, offset, weight, bias, stride):
            order = [1, 0, 3, 2, 5, 4, 7, 6]
            return own(x, paddle.index_select(offset, paddle.to_tensor(order), 1), weight, bias, stride=stride)

        monkeypatch.setattr(token_merging, "deform_conv2d", swapped)
        assert MERGED in one_pass()

    def test_no_bias_after_the_taps(self, monkeypatch):
        """The authors' own version in plain torch adds none."""
        own = token_merging.deform_conv2d
        monkeypatch.setattr(
            token_merging,
            "deform_conv2d",
            lambda x, offset, weight, bias, stride: own(x, offset, weight, stride=stride),
        )
        assert MERGED in one_pass()

    def test_the_activation_before_the_convolution(self, monkeypatch):
        def forward(self, x):
            return self.fc2(self.dwconv(F.gelu(self.fc1(x))))

        monkeypatch.setattr(ConvFFN, "forward", forward)
        assert "maps after every stage and the final norm" in one_pass()

    def test_low_frequencies_first(self, monkeypatch):
        own = HiLo.paths
        monkeypatch.setattr(HiLo, "paths", lambda self, x: own(self, x)[::-1])
        assert "pooled features and logits" in one_pass()

    def test_another_share_of_heads(self):
        with pytest.raises(Exception, match="h_qkv"):
            one_pass(alpha=0.5)

    def test_layer_norms_of_another_epsilon(self, monkeypatch):
        begin = LITv2.__init__

        def other(self, **options):
            begin(self, **options)
            for layer in self.sublayers():
                if isinstance(layer, paddle.nn.LayerNorm):
                    layer._epsilon = 1e-3

        monkeypatch.setattr(LITv2, "__init__", other)
        assert "patch embedding" in one_pass()

    def test_offsets_at_the_rate_of_all(self):
        assert trained(offset_factor=1.0) == ALL

    def test_offsets_at_a_share_of_every_rate(self, monkeypatch):
        """The lowest rate is not theirs to scale."""
        own = optim.ScheduledOptimizer.prepare

        def scaled(self, step):
            rate = own(self, step)
            for p in self.apart[0][0]:
                p.optimize_attr["learning_rate"] = 0.05
            return rate

        monkeypatch.setattr(optim.ScheduledOptimizer, "prepare", scaled)
        assert trained() == ALL

    def test_statistics_that_move_at_torchs_number(self, monkeypatch):
        begin = TokenMerging.__init__

        def other(self, dim):
            begin(self, dim)
            self.norm._momentum = 0.1

        monkeypatch.setattr(TokenMerging, "__init__", other)
        assert trained() == {"norm of every final tensor"}

    @pytest.mark.parametrize(
        "recipe", [dict(clip=1e3), dict(weight_decay=0.0), dict(min_lr=0.0), dict(warmup=6)], ids=str
    )
    def test_another_recipe(self, recipe):
        assert "norm of every final tensor" in trained(**recipe)

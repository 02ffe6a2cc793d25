"""Swin against the stored numbers of timm and torch (see ppswin/reference_swin.py), and what others got wrong."""

import json
from functools import partial

import numpy as np
import paddle
import pytest
from conftest import ROOT
from stored_reference import beyond, check_origin, check_rows

from ppcore import optim
from ppcore.layers import patch_merging, window_attention
from ppcore.reproduce import fidelity
from ppcore.schedules import TimmCosine
from ppswin import SwinTransformer, reference_swin, stage
from ppswin.reference_swin import SwinReference

FILE = ROOT / "tests" / "fidelity_data" / "swin_tiny.npz"
MAPS, GRADIENTS = "map after every block and the final norm", "gradient of every parameter and of the images"


def failed() -> set[str]:
    return beyond(fidelity.measure(SwinReference, FILE))


def one_pass() -> set[str]:
    facts, arrays = fidelity.read(FILE)
    return beyond(fidelity.one_pass(SwinReference(facts), arrays))


def test_every_row_is_within_its_tolerance():
    check_rows(SwinReference, FILE, 6 + 2 * 3)


def test_the_file_is_small_and_says_where_it_comes_from():
    assert FILE.stat().st_size < 300_000
    check_origin(FILE)
    assert set(json.loads(FILE.with_suffix(".json").read_text())["versions"]) >= {"torch", "timm"}


def test_the_stored_network_has_what_makes_swin():
    """A shifted, masked stage, and one that the rule leaves unshifted."""
    model = SwinReference(json.loads(FILE.with_suffix(".json").read_text())).build()
    assert [block.shift for block in model.blocks] == [(0, 0), (2, 2), (0, 0), (0, 0)]
    assert [block.mask is not None for block in model.blocks] == [False, True, False, False]


def test_the_stored_trainings_learn_and_differ():
    """Flat or equal curves would prove nothing."""
    arrays = np.load(FILE)
    published, clipped = (arrays[f"runs/{name}/loss"] for name in ("published", "clipped"))
    assert len(published) == len(clipped) == 40
    assert published[-1] < 0.75 * published[0]
    assert abs(published[-1] - clipped[-1]) > 0.05
    norms = arrays["runs/clipped/grad_norm"]
    assert norms[0] > 1 > norms.min()  # the clip acts, and does not always
    assert arrays["runs/published/grad_norm"].max() < 5


class TestAFaultIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_no_rule_for_small_maps(self, monkeypatch):
        """PaddleClas since 2023, and detection backbones on images of a classifier's size."""
        monkeypatch.setattr(
            reference_swin, "SwinTransformer", lambda **config: SwinTransformer(**config, window_rule="detection")
        )
        assert {MAPS, "logits", "loss", GRADIENTS} <= one_pass()

    def test_another_order_of_merging(self, monkeypatch):
        """Columns before rows: what comes out has the same shape."""
        own = patch_merging.merging_order

        def swapped(grid):
            return own(grid).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)

        monkeypatch.setattr(patch_merging, "merging_order", swapped)
        assert "patch merging" in one_pass()

    def test_openmmlabs_order_of_merging(self, monkeypatch):
        """nn.Unfold's: channel by channel, the four neighbours of each beside one another."""

        def unfolded(layer, x):
            x = layer.groups(x).reshape([0, -1, 4, layer.dim]).transpose([0, 1, 3, 2])
            return layer.reduction(layer.norm(x.reshape([0, -1, 4 * layer.dim])))

        monkeypatch.setattr(patch_merging.PatchMerging, "forward", unfolded)
        assert "patch merging" in one_pass()

    def test_keys_for_queries_in_the_bias(self, monkeypatch):
        own = window_attention.relative_position_index
        monkeypatch.setattr(window_attention, "relative_position_index", lambda window: own(window).T.copy())
        assert {MAPS, GRADIENTS} <= one_pass()

    def test_no_mask(self, monkeypatch):
        monkeypatch.setattr(stage, "shift_mask", lambda *args: None)
        assert MAPS in one_pass()

    def test_vits_epsilon(self, monkeypatch):
        """1e-6 instead of torch's 1e-5."""
        monkeypatch.setattr(
            reference_swin, "SwinTransformer", lambda **config: SwinTransformer(**config, norm_eps=1e-6)
        )
        assert one_pass()

    def test_the_other_gelu(self, monkeypatch):
        monkeypatch.setattr(stage, "Mlp", partial(stage.Mlp, act="gelu_tanh"))
        assert MAPS in one_pass()

    def test_tables_that_decay(self, monkeypatch):
        monkeypatch.setattr(SwinReference, "not_decayed", ("1d",))
        assert sum("every final tensor" in what for what in failed()) == 2

    def test_a_schedule_that_is_a_step_early(self, monkeypatch):
        """timm's, stepped before the update."""
        monkeypatch.setattr(reference_swin, "CosineAfterUpdate", TimmCosine)
        what = failed()
        assert {"logits", "loss", GRADIENTS}.isdisjoint(what)
        assert sum(row.endswith(": loss") for row in what) == 2

    def test_no_clipping(self, monkeypatch):
        own = optim.clip_grad_norm
        monkeypatch.setattr(optim, "clip_grad_norm", lambda parameters, limit: own(parameters, None))
        what = failed()
        assert "40 steps of AdamW, cosine over what follows the warm-up, clip 1: loss" in what
        assert "40 steps of AdamW, cosine over everything, clip 5: loss" not in what


def test_forward_in_training_mode_is_that_of_evaluation_without_randomness():
    """With no drop path both modes compute the same numbers."""
    facts, arrays = fidelity.read(FILE)
    model = SwinReference(facts).build()
    x = paddle.to_tensor(arrays["x"][:2])
    want = model(x).numpy()
    model.train()
    np.testing.assert_allclose(model(x).numpy(), want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("sizes", [((8, 10), (8, 12)), ((9, 8), (12, 8)), ((8, 8), (8, 8))])
def test_one_axis_is_padded_alone(sizes):
    """PaddleClas gives the other axis a whole window more."""
    grid, wanted = sizes
    assert stage.padded(grid, (4, 4)) == wanted

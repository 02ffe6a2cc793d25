"""Our MAE, CAN and Jigsaw-ViT against the stored numbers of torch (ppssl/reference_*.py), and mistakes that they tell."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import paddle
import pytest
from stored_reference import beyond, check_origin, check_rows

from ppcore.layers import patchify
from ppcore.layers.sincos import sincos_positions
from ppcore.reproduce import fidelity
from ppssl import ContrastiveMaskedAutoencoder, MaskedAutoencoder, can_task, jigsaw_task, mae, masking
from ppssl.reference_can import CANReference
from ppssl.reference_jigsaw_vit import JigsawReference
from ppssl.reference_mae import MAEReference

FOLDER = Path(__file__).parents[1] / "fidelity_data"
FILES = {
    MAEReference: FOLDER / "mae_tiny.npz",
    CANReference: FOLDER / "can_tiny.npz",
    JigsawReference: FOLDER / "jigsaw_vit_tiny.npz",
}
KEPT, LATENT, PREDICTED = (
    "class token and kept patches with their positions",
    "latent of what is visible",
    "predicted patches",
)
PLAIN, PARTS = "loss of plain pixels", "losses of contrast, reconstruction and noise"


@pytest.mark.parametrize(
    ("described_by", "count"), [(MAEReference, 8 + 3), (CANReference, 6 + 3), (JigsawReference, 4 + 3)]
)
def test_every_row_is_within_its_tolerance(described_by, count):
    check_rows(described_by, FILES[described_by], count)


@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.stem)
def test_the_file_is_small_says_where_it_comes_from_and_its_training_learns(file):
    check_origin(file)
    assert file.stat().st_size < 300_000
    loss = np.load(file)["run/loss"]
    assert loss[-1] < 0.6 * loss[0]


def one_pass(described_by, **config) -> set[str]:
    """What the forward pass finds beyond its tolerance."""
    facts, arrays = fidelity.read(FILES[described_by])
    facts["config"] |= config
    reference = described_by(facts)
    rows = len(reference.stages(None)) + 1
    return beyond(islice(fidelity.one_pass(reference, arrays), rows))


def trained(described_by, spared: Sequence[str] | None = None, **recipe) -> set[str]:
    """What is beyond its tolerance of a training with another recipe, by the ends of its rows."""
    facts, arrays = fidelity.read(FILES[described_by])
    facts["training"] |= recipe
    reference = described_by(facts)
    if spared is not None:
        reference.no_weight_decay = spared
    rows = beyond(fidelity.training(reference, arrays, "run"))
    return {row.rpartition(": ")[2] for row in rows}


class TestAFaultOfMAEIsNoticed:
    """Each of these is a mistake somebody made, or could."""

    def test_nothing_wrong(self):
        assert not one_pass(MAEReference)

    def test_layer_norms_of_torchs_own_epsilon(self):
        assert {LATENT, PREDICTED, "loss"} <= one_pass(MAEReference, norm_eps=1e-5)

    def test_the_population_variance(self, monkeypatch):
        def statistics(patches):
            deviation = paddle.sqrt(patches.var(-1, unbiased=False, keepdim=True) + 1e-6)
            return patches.mean(-1, keepdim=True), deviation

        monkeypatch.setattr(mae, "patch_statistics", statistics)
        assert one_pass(MAEReference) == {"loss"}

    @pytest.mark.parametrize("epsilon", [0.0, 1e-5])
    def test_another_epsilon_of_a_patchs_variance(self, monkeypatch, epsilon):
        def statistics(patches):
            deviation = paddle.sqrt(patches.var(-1, unbiased=True, keepdim=True) + epsilon)
            return patches.mean(-1, keepdim=True), deviation

        monkeypatch.setattr(mae, "patch_statistics", statistics)
        assert one_pass(MAEReference) == {"loss"}

    def test_the_row_before_the_column(self, monkeypatch):
        def swapped(dim, grid):
            return np.concatenate(np.split(sincos_positions(dim, grid), 2, axis=2)[::-1], axis=2)

        monkeypatch.setattr("ppssl.mae.sincos_positions", swapped)
        assert one_pass(MAEReference) == {"both tables of fixed positions, as built"}

    def test_the_loss_of_all_patches(self, monkeypatch):
        own = mae.patch_error
        monkeypatch.setattr(
            mae, "patch_error", lambda predicted, target, removed: own(predicted, target, removed * 0 + 1)
        )
        assert one_pass(MAEReference) == {"loss", PLAIN}

    def test_the_mean_over_all_patches_of_the_loss_of_the_removed(self, monkeypatch):
        own = mae.patch_error
        monkeypatch.setattr(mae, "patch_error", lambda p, t, removed: own(p, t, removed) * removed.mean())
        assert one_pass(MAEReference) == {"loss", PLAIN}

    def test_six_patches_of_thirty_at_four_fifths(self, monkeypatch):
        monkeypatch.setattr(masking, "count_kept", lambda patches, ratio: round(patches * (1 - ratio)))
        with pytest.raises(ValueError, match="shapes differ"):
            one_pass(MAEReference)

    def test_channels_slowest_in_a_patch(self, monkeypatch):
        def by_channel(x, side):
            whole = patchify(x, side)
            return whole.reshape([*whole.shape[:2], side * side, -1]).transpose([0, 1, 3, 2]).flatten(2)

        monkeypatch.setattr(mae, "patchify", by_channel)
        assert one_pass(MAEReference) == {"loss", PLAIN}

    def test_positions_after_the_mask(self, monkeypatch):
        """Those of the first patches instead of the kept ones'."""

        def visible(self, patches, keep):
            cls = self.cls_token.expand([patches.shape[0], -1, -1])
            kept = masking.take(patches, keep) + self.pos_embed[:, 1 : 1 + keep.shape[1]]
            return paddle.concat([cls, kept], axis=1)

        monkeypatch.setattr(MaskedAutoencoder, "visible", visible)
        assert KEPT in one_pass(MAEReference)

    def test_what_is_kept_is_not_put_back(self, monkeypatch):
        own = MaskedAutoencoder.decode
        in_order = lambda restore: paddle.arange(restore.shape[1]).expand_as(restore)  # noqa: E731
        monkeypatch.setattr(
            MaskedAutoencoder, "decode", lambda self, latent, restore: own(self, latent, in_order(restore))
        )
        assert {PREDICTED, "loss"} <= one_pass(MAEReference)

    @pytest.mark.parametrize(
        "recipe", [dict(betas=[0.9, 0.999]), dict(weight_decay=0.0), dict(warmup=3), dict(eps=1e-5)], ids=str
    )
    def test_another_recipe(self, recipe):
        assert "norm of every final tensor" in trained(MAEReference, **recipe)

    def test_tokens_that_do_not_decay(self):
        assert "norm of every final tensor" in trained(MAEReference, spared=["1d", "cls_token", "mask_token"])


class TestAFaultOfCANIsNoticed:
    def test_nothing_wrong(self):
        assert not one_pass(CANReference)

    def test_the_class_token_pooled_and_told(self):
        found = one_pass(CANReference, class_token=True)
        assert {"projection of the mean of the patches", "predicted patches, of the noise level told", PARTS} <= found

    def test_the_noisy_view_as_the_target(self, monkeypatch):
        own = CANReference.__init__

        def begin(self, facts):
            own(self, facts)
            self.options = self.options | {"noisy_target": True}

        monkeypatch.setattr(CANReference, "__init__", begin)
        assert one_pass(CANReference) == {PARTS, "loss"}

    def test_noise_predicted_of_the_removed_patches(self, monkeypatch):
        own = can_task.patch_error
        monkeypatch.setattr(can_task, "patch_error", lambda predicted, added, seen: own(predicted, added, 1 - seen))
        assert one_pass(CANReference) == {PARTS, "loss"}

    def test_waves_of_half_and_not_half_less_one(self, monkeypatch):
        def waves(sigma, dim):
            frequencies = paddle.to_tensor(10000.0 ** (-np.arange(dim // 2) / (dim // 2))).astype(sigma.dtype)
            angles = sigma.unsqueeze(1) * frequencies
            return paddle.concat([paddle.sin(angles), paddle.cos(angles)], axis=1)

        monkeypatch.setattr("ppssl.can.noise_waves", waves)
        assert "predicted patches, of the noise level told" in one_pass(CANReference)

    def test_a_decoder_that_is_not_told(self, monkeypatch):
        own = ContrastiveMaskedAutoencoder.noise_level
        monkeypatch.setattr(ContrastiveMaskedAutoencoder, "noise_level", lambda self, sigma: 0 * own(self, sigma))
        assert "predicted patches, of the noise level told" in one_pass(CANReference)

    @pytest.mark.parametrize("weights", [[0.03, 0.679, 0.291], [0.03, 0.67, 0.0]], ids=str)
    def test_other_weights(self, monkeypatch, weights):
        own = CANReference.__init__

        def begin(self, facts):
            own(self, facts)
            self.options = self.options | {"weights": weights}

        monkeypatch.setattr(CANReference, "__init__", begin)
        assert one_pass(CANReference) == {"loss"}


class TestAFaultOfJigsawViTIsNoticed:
    def test_nothing_wrong(self):
        assert not one_pass(JigsawReference)

    def test_layer_norms_of_torchs_own_epsilon(self):
        assert one_pass(JigsawReference, norm_eps=1e-5)

    def test_places_among_the_kept_patches(self, monkeypatch):
        """0, 1, 2, … instead of where they were."""
        own = jigsaw_task.placing
        order = lambda keep: paddle.arange(keep.shape[1]).expand_as(keep)  # noqa: E731
        monkeypatch.setattr("ppssl.reference_jigsaw_vit.placing", lambda logits, keep: own(logits, order(keep)))
        assert one_pass(JigsawReference) == {"loss"}

    def test_positions_that_leak(self, monkeypatch):
        own = masking.take

        def with_positions(tokens, places):
            return own(tokens + sincos_like(tokens), places)

        def sincos_like(tokens):
            return paddle.to_tensor(sincos_positions(tokens.shape[2], (5, 6))[:, 1:].astype("float32"))

        monkeypatch.setattr("ppssl.jigsaw_vit.take", with_positions)
        assert {"logits of the positions of the kept patches", "loss"} == one_pass(JigsawReference)

    def test_decay_of_positions_and_class_token(self):
        assert "norm of every final tensor" in trained(JigsawReference, spared=["1d"])

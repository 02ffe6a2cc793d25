"""Pictures of what a masked autoencoder makes of images."""

import numpy as np
import paddle
import pytest
import test_mae

from ppcore.layers import patchify
from ppssl.reconstructions import draw, reconstructions, unpatchify


def test_unpatchify_is_the_inverse():
    x = test_mae.images(2, 3, 8, 12)
    np.testing.assert_array_equal(unpatchify(patchify(paddle.to_tensor(x), 4).numpy(), (2, 3), 4), x)


@pytest.mark.parametrize("norm_pix", [False, True])
def test_seen_patches_stay_and_removed_ones_are_predicted(norm_pix):
    model = test_mae.network(norm_pix_loss=norm_pix)
    model.eval()
    x = 3 * test_mae.images() + 1
    made = reconstructions(model, paddle.to_tensor(x))
    removed = made["removed"].reshape(3, 1, 4, 4).repeat(4, 2).repeat(4, 3).astype(bool)
    removed = np.broadcast_to(removed, x.shape)
    assert removed.mean() == 0.75
    np.testing.assert_array_equal(made["original"], x)
    np.testing.assert_array_equal(made["masked"], np.where(removed, 0, x))
    np.testing.assert_array_equal(made["filled"][~removed], x[~removed])
    np.testing.assert_allclose(made["filled"][removed], made["predicted"][removed], atol=1e-6)
    # The loss of what is shown is the network's: in its own target where patches are normalised.
    patches = patchify(paddle.to_tensor(made["predicted"]), 4)
    if norm_pix:
        own = patchify(paddle.to_tensor(x), 4)
        patches = (patches - own.mean(-1, keepdim=True)) / paddle.sqrt(own.var(-1, keepdim=True) + 1e-6)
    loss = model.loss(patches, paddle.to_tensor(x), paddle.to_tensor(made["removed"]))
    rng = np.random.default_rng(0)
    mask = test_mae.random_mask(rng.random((3, 16)), 0.75)
    want = model.loss(
        model.reconstruct(paddle.to_tensor(x), mask.keep, mask.restore), paddle.to_tensor(x), mask.removed
    )
    assert float(loss) == pytest.approx(float(want), rel=1e-4)


def test_drawn_panels_share_their_range():
    model = test_mae.network()
    model.eval()
    x = test_mae.images(5, 3, 16, 16)
    drawn = draw(model, paddle.to_tensor(x))
    assert len(drawn["rows"]) == 4
    panels = drawn["rows"][0]["panels"]
    assert [panel["caption"] for panel in panels] == ["what is seen", "removed patches predicted", "test image"]
    assert all(panel["image"].shape == (160, 160, 3) and panel["image"].dtype == np.uint8 for panel in panels)
    seen, filled, original = (panel["image"].astype(int) for panel in panels)
    assert original.min() == 0
    assert original.max() == 255
    same = (seen == original).all(-1).mean()
    assert 0.24 < same < 0.3
    assert (filled == original).all(-1).mean() == pytest.approx(same, abs=0.05)

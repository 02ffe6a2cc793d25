"""Pictures of what a masked autoencoder makes of images."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import test_mae

import ppssl
from ppcore.errors import ConfigError
from ppcore.layers import patchify
from ppssl.masking import mask_of_images
from ppssl.reconstructions import draw, reconstructions, unpatchify
from ppvit import VisionTransformer


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
    mask = mask_of_images(np.arange(3), 16, 0.75, 0)
    want = model.loss(
        model.reconstruct(paddle.to_tensor(x), mask.keep, mask.restore), paddle.to_tensor(x), mask.removed
    )
    assert float(loss) == pytest.approx(float(want), rel=1e-4)


class Evaluation:
    """A data set in batches of some size, in one process of some."""

    def __init__(self, x, size, rank=0, world=1):
        self.x, self.size, self.images, self.facts = x, size, x, {}
        self.config = SimpleNamespace(DataLoader=SimpleNamespace(Eval=None))
        self.own = range(rank, len(x), world)
        self.world = SimpleNamespace(sum=lambda values: values)

    def batches(self, part, images):
        for start in range(0, len(self.own), self.size):
            index = np.array(self.own[start : start + self.size])
            yield {"index": index, "image": images[index]}

    def forward(self, network, images):
        return network(paddle.to_tensor(images))


def test_the_error_of_unseen_images_does_not_depend_on_batches_and_processes():
    model, measure = test_mae.network(), ppssl.ReconstructionError(seed=3)
    model.eval()
    x = test_mae.images(5, 3, 16, 16)
    run = Evaluation(x, 2)
    [(spec, found)] = list(measure.evaluate(model, run))
    assert (spec.key, spec.higher_is_better, run.facts) == ("reconstruction", False, {"n": 5})
    want = []
    for index, image in enumerate(x):
        mask = test_mae.random_mask(np.random.default_rng((3, index)).random((1, 16)), 0.75)
        one = paddle.to_tensor(image[None])
        want.append(float(model.loss(model.reconstruct(one, mask.keep, mask.restore), one, mask.removed)))
    assert found == pytest.approx(np.mean(want), rel=1e-5)
    parts = [
        measure.of_batch(model, run, batch) for rank in (0, 1) for batch in Evaluation(x, 5, rank, 2).batches(None, x)
    ]
    assert sum(parts) / 5 == pytest.approx(found, rel=1e-5)
    with pytest.raises(ConfigError, match="not VisionTransformer"):
        next(measure.evaluate(VisionTransformer(**test_mae.SIZE), run))
    run.images = None
    with pytest.raises(ConfigError, match=r"DataLoader\.Eval, which is missing"):
        next(measure.evaluate(model, run))


def test_drawn_panels_share_their_range():
    model = test_mae.network()
    model.eval()
    x = test_mae.images(5, 3, 16, 16)
    drawn = draw(model, paddle.to_tensor(x))
    assert len(drawn["rows"]) == 4
    panels = drawn["rows"][0]["panels"]
    assert [panel["caption"] for panel in panels] == ["what is seen", "removed patches predicted", "the image"]
    assert all(panel["image"].shape == (160, 160, 3) and panel["image"].dtype == np.uint8 for panel in panels)
    seen, filled, original = (panel["image"].astype(int) for panel in panels)
    assert original.min() == 0
    assert original.max() == 255
    same = (seen == original).all(-1).mean()
    assert 0.24 < same < 0.3
    assert (filled == original).all(-1).mean() == pytest.approx(same, abs=0.05)

"""Positions that Jigsaw-ViT finds, and raw pixels as features."""

import numpy as np
import paddle
import pytest
from test_reconstructions import Evaluation

import ppssl
from ppcore.errors import ConfigError
from ppcore.model import traits
from ppssl.masking import mask_of_images


class Known(ppssl.JigsawVisionTransformer):
    """Says the true position of those patches whose first channel is above 0."""

    def place(self, patches):
        return paddle.nn.functional.one_hot((patches[:, :, 0].abs() * 100).astype("int64") % 16, 16)


def network():
    model = Known(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=3)
    model.patch_embed.proj.weight.set_value(np.zeros(model.patch_embed.proj.weight.shape, np.float32))
    kernel = np.zeros(model.patch_embed.proj.weight.shape, np.float32)
    kernel[0, 0, 0, 0] = 1.0  # the first channel of a patch is its first pixel
    model.patch_embed.proj.weight.set_value(kernel)
    model.patch_embed.proj.bias.set_value(np.zeros(8, np.float32))
    return model


def images(count: int, right) -> np.ndarray:
    """Every patch's first pixel says where it is, where it is `right` [count, 16]; elsewhere it says the next place."""
    said = np.where(right, np.arange(16), (np.arange(16) + 1) % 16) / 100 + 0.005
    x = np.zeros((count, 3, 16, 16), np.float32)
    x[:, 0, ::4, ::4] = said.reshape(count, 4, 4)
    return x


@pytest.mark.parametrize("size", [2, 5])
def test_the_share_of_kept_patches_that_are_placed(size):
    right = np.random.default_rng(0).random((5, 16)) < 0.7
    run = Evaluation(images(5, right), size)
    ((spec, value),) = ppssl.PositionAccuracy(mask_ratio=0.5, seed=3).evaluate(network(), run)
    keep = mask_of_images(np.arange(5), 16, 0.5, 3).keep.numpy()
    assert (spec.key, run.facts["n"], keep.shape) == ("placed", 5, (5, 8))
    assert value == pytest.approx(np.take_along_axis(right, keep, 1).mean())


def test_refusals():
    with pytest.raises(ConfigError, match="mask_ratio"):
        ppssl.PositionAccuracy(mask_ratio=1.0)
    with pytest.raises(ConfigError, match=r"measures a ppssl\.JigsawVisionTransformer, not Linear"):
        next(ppssl.PositionAccuracy().evaluate(paddle.nn.Linear(2, 2), Evaluation(images(1, np.ones((1, 16))), 1)))


def test_raw_pixels_are_pixels():
    x = np.random.default_rng(1).random((2, 3, 4, 5), np.float32)
    model = ppssl.RawPixels()
    np.testing.assert_array_equal(model(paddle.to_tensor(x)).numpy(), x.reshape(2, 60))
    assert not traits(model).needs_weights

"""Attention rollout against results worked out by hand."""

import numpy as np
import pytest

from ppcore.layers.rollout import attention_rollout


def test_one_layer_by_hand():
    """Rows become (A + I) / 2: the class row (.2 .3 .5) leaves .15 and .25 for the two patches."""
    attention = np.array([[[[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]]]])
    result = attention_rollout([attention], num_prefix_tokens=1, grid=(1, 2))
    np.testing.assert_allclose(result, [[[0.15, 0.25]]], rtol=1e-12)


def test_two_layers_multiply_the_later_from_the_left():
    """Layer 1 moves patch 2 into patch 1; layer 2 lets the class token read patch 1; reversed it reads patch 1 alone.

    (A1 + I)/2 = [[1,0,0],[0,.5,.5],[0,0,1]], (A2 + I)/2 = [[.5,.5,0],[0,1,0],[0,0,1]];
    class row of A2' A1' = .5*[1,0,0] + .5*[0,.5,.5] = [.5,.25,.25].
    """
    first = np.array([[[[1.0, 0, 0], [0, 0, 1], [0, 0, 1]]]])
    second = np.array([[[[0.0, 1, 0], [0, 1, 0], [0, 0, 1]]]])
    np.testing.assert_allclose(attention_rollout([first, second], num_prefix_tokens=1, grid=(1, 2)), [[[0.25, 0.25]]])
    np.testing.assert_allclose(attention_rollout([second, first], num_prefix_tokens=1, grid=(1, 2)), [[[0.5, 0.0]]])


def test_heads_are_averaged_and_images_kept_apart():
    one, other = np.full((3, 3), 1 / 3), np.eye(3)
    maps = [np.stack([[one, other], [other, other]])]  # [B=2, heads=2, 3, 3]
    result = attention_rollout(maps, num_prefix_tokens=1, grid=(2, 1))
    np.testing.assert_allclose(result, [[[1 / 12], [1 / 12]], [[0.0], [0.0]]], atol=1e-15)


def test_rows_that_do_not_sum_to_one_are_renormalised():
    """As after a float16 softmax: (A + I) has row sums 3, so (1, 2) / 3."""
    attention = np.array([[[[0.0, 2.0], [1.0, 1.0]]]])
    np.testing.assert_allclose(attention_rollout([attention], num_prefix_tokens=1, grid=(1, 1)), [[[2 / 3]]])


def test_shares_are_a_distribution_over_all_tokens():
    rng = np.random.default_rng(0)
    maps = [rng.dirichlet(np.ones(14), size=(2, 3, 14)).astype(np.float32) for _ in range(4)]
    two_prefix = attention_rollout(maps, num_prefix_tokens=2, grid=(3, 4))
    all_tokens = attention_rollout(maps, num_prefix_tokens=0, grid=(1, 14))
    assert two_prefix.shape == (2, 3, 4)
    np.testing.assert_allclose(all_tokens.sum((1, 2)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(two_prefix.reshape(2, 12), all_tokens.reshape(2, 14)[:, 2:])
    second = attention_rollout(maps, num_prefix_tokens=2, grid=(3, 4), tokens=(1,))
    assert np.abs(second - two_prefix).max() > 1e-3


@pytest.mark.parametrize(
    ("maps", "grid"),
    [
        ([], (1, 2)),
        ([np.ones((1, 1, 3, 3))], (2, 2)),
        ([np.ones((1, 3, 3))], (1, 2)),
        ([np.ones((1, 1, 3, 3)), np.ones((1, 1, 4, 4))], (1, 2)),
    ],
)
def test_shapes_that_do_not_fit(maps, grid):
    with pytest.raises(ValueError, match=r"attention (of|rollout)"):
        attention_rollout(maps, num_prefix_tokens=1, grid=grid)


def test_mean_of_patches_is_the_mean_over_their_tokens():
    rng = np.random.default_rng(0)
    maps = [rng.random((2, 3, 5, 5)) for _ in range(3)]
    maps = [m / m.sum(axis=-1, keepdims=True) for m in maps]
    each = [attention_rollout(maps, num_prefix_tokens=1, grid=(2, 2), tokens=(t,)) for t in range(1, 5)]
    found = attention_rollout(maps, num_prefix_tokens=1, grid=(2, 2), tokens=range(1, 5))
    np.testing.assert_allclose(found, np.mean(each, axis=0))

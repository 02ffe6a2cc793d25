"""Pictures of attention in windows: a patch looks into its own window, which the shift moves."""

import numpy as np
import paddle

from ppswin import SwinTransformer, window_pictures


def model() -> SwinTransformer:
    paddle.seed(0)
    made = SwinTransformer(
        img_size=32, patch_size=2, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=3
    )
    made.eval()
    return made


def test_where_the_middle_patch_looks():
    """16 x 16 tokens in windows of 4: token (8, 8) begins a window, and is in the middle of one that is shifted by 2."""
    looks = window_pictures._looks(model(), paddle.randn([2, 3, 32, 32]))
    assert [caption for caption, _ in looks] == [
        f"stage {stage}, {kind}" for stage in (1, 2) for kind in ("windows", "shifted windows")
    ]
    (_, plain), (_, shifted) = looks[:2]
    for seen, first in ((plain, 8), (shifted, 6)):
        assert seen.shape == (2, 16, 16)
        np.testing.assert_allclose(seen[:, first : first + 4, first : first + 4].sum(axis=(1, 2)), 1, rtol=1e-5)
        assert (seen[:, first : first + 4, first : first + 4] > 0).all()
        np.testing.assert_allclose(seen.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_a_row_an_image():
    drawn = window_pictures.draw(model(), paddle.randn([6, 3, 32, 32]))
    assert len(drawn["rows"]) == window_pictures.SHOWN
    captions = [panel["caption"] for panel in drawn["rows"][0]["panels"]]
    assert captions[0] == "test image"
    assert captions[-1] == "rollout"
    assert len(captions) == 6
    first, second = (row["panels"][1]["image"] for row in drawn["rows"][:2])
    assert first.dtype == np.uint8
    assert (first != second).any()

"""Maps painted over images."""

import numpy as np

from ppcore.photo.heat import overlay, unit_range


def test_overlay_is_warm_where_attention_is_and_keeps_the_image_at_strength_zero():
    image = np.full((40, 60, 3), 128, np.uint8)
    attention = np.zeros((4, 6))
    attention[1, 4] = 1.0
    painted = overlay(image, attention)
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    row, column = np.unravel_index(painted.sum(-1, dtype=int).argmax(), (40, 60))
    assert 10 <= row < 20
    assert 40 <= column < 50
    assert painted[15, 45, 0] > painted[15, 45, 2]  # red above blue: RGB, not BGR
    np.testing.assert_array_equal(overlay(image, attention, strength=0.0), image)


def test_unit_range():
    np.testing.assert_allclose(unit_range(np.array([[2.0, 4.0]])), [[0, 1]])
    np.testing.assert_array_equal(unit_range(np.full((2, 2), 0.3)), np.zeros((2, 2)))

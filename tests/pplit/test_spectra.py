"""The spectra of HiLo's two paths: shares known beforehand, and what the pictures show."""

import numpy as np
import paddle
import pytest

from pplit import LITv2, spectra


def wave(height: int, width: int, down: float, across: float) -> np.ndarray:
    """A wave of so many cycles over the map, [1, H, W, 1], over a constant."""
    rows, columns = np.mgrid[:height, :width]
    return 5 + np.cos(2 * np.pi * (down * rows / height + across * columns / width))[None, ..., None]


@pytest.mark.parametrize(
    ("down", "across", "share"),
    [(1, 0, 0), (0, 3, 0), (3, 0, 1), (0, 4, 1), (4, 6, 1), (2, 3, 0), (2, 4, 1), (4, 0, 1)],
)
def test_a_wave_is_high_beyond_half_of_nyquists_frequency(down, across, share):
    """8 rows: 4 cycles are Nyquist's frequency, 2 are not beyond half; 12 columns: 6 and 3."""
    assert spectra.high_share(wave(8, 12, down, across), constant=False) == pytest.approx(share, abs=1e-12)


def test_energies_add_up_over_channels():
    maps = np.concatenate([2 * wave(8, 8, 1, 0), wave(8, 8, 4, 1)], axis=3)
    assert spectra.high_share(maps, constant=False) == pytest.approx(1 / 5, rel=1e-9)


def test_the_constant_is_of_the_energy():
    """A wave of amplitude 1 has half the energy of a constant 1; at Nyquist's frequency of rows it has all."""
    assert spectra.high_share(wave(8, 8, 4, 0)) == pytest.approx(1 / 26, rel=1e-9)
    assert spectra.high_share(wave(8, 8, 0, 3)) == pytest.approx(0.5 / 25.5, rel=1e-9)


def test_the_constant_is_in_the_middle():
    found = spectra.spectrum(wave(8, 8, 0, 0))
    assert np.unravel_index(found.argmax(), found.shape) == (4, 4)


def model() -> LITv2:
    paddle.seed(0)
    made = LITv2(
        img_size=32,
        patch_size=2,
        embed_dim=8,
        depths=(2, 1),
        num_heads=(4, 4),
        local_ws=(2, 1),
        alpha=0.5,
        num_classes=3,
    )
    made.eval()
    return made


def test_one_value_a_block_with_both_paths():
    images = paddle.randn([3, 3, 32, 32])
    high, low = spectra.hi_fi_share(model(), images), spectra.lo_fi_share(model(), images)
    assert len(high) == len(low) == 2
    block = model().layers[0].blocks[0]
    both = block.attn.paths(block.norm1(model().patch_embed(images)))
    assert [high[0], low[0]] == pytest.approx([spectra.high_share(path.numpy()) for path in both], rel=1e-4)
    drawn = spectra.draw(model(), images)
    assert len(drawn["rows"]) == 2
    assert f"Hi-Fi {100 * high[1]:.1f} %, Lo-Fi {100 * low[1]:.1f} %" in drawn["text"]
    assert [row["label"] for row in drawn["rows"]] == ["Hi-Fi", "Lo-Fi"]
    assert drawn["rows"][0]["panels"][1]["caption"] == f"block 2, {100 * high[1]:.1f} % high"
    for row in drawn["rows"]:
        assert [panel["image"].shape for panel in row["panels"]] == [(spectra.SIDE, spectra.SIDE, 3)] * 2

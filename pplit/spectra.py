"""Which frequencies HiLo's two paths carry: the paper's motivation (section 3.2), measured and drawn on a trained model.

`papers/litv2.yaml` names these functions.
"""

from typing import Any

import numpy as np
import paddle

from ppcore.photo.panels import enlarged, grey
from pplit.litv2 import LITv2

SIDE = 160  # pixels of a drawn spectrum


def hi_fi_share(model: LITv2, images: paddle.Tensor) -> list[float]:
    """The share of high frequencies in what Hi-Fi gives, one value a block that has both paths.

    Args:
        model: in evaluation mode.
        images: [N, C, H, W].
    """
    return [high_share(high) for high, _ in _paths(model, images)]


def lo_fi_share(model: LITv2, images: paddle.Tensor) -> list[float]:
    """Likewise, of Lo-Fi."""
    return [high_share(low) for _, low in _paths(model, images)]


def draw(model: LITv2, images: paddle.Tensor) -> dict[str, Any]:
    """The mean amplitude spectrum of each path's output, a row a path, a panel a block; the constant is in the middle."""
    found = _paths(model, images)
    rows = [
        {"label": name, "panels": [_panel(number, one) for number, one in enumerate(outputs, 1)]}
        for name, outputs in zip(("Hi-Fi", "Lo-Fi"), zip(*found, strict=True), strict=True)
    ]
    said = []
    for number, both in enumerate(found, 1):
        shares = [100 * high_share(path, constant=constant) for constant in (True, False) for path in both]
        said.append(
            "block {}: Hi-Fi {:.1f} %, Lo-Fi {:.1f} % (without the constant {:.1f}, {:.1f})".format(number, *shares)
        )
    text = f"Share of the energy beyond half the Nyquist frequency, over {len(images)} test images: {'; '.join(said)}. "
    return {"rows": rows, "text": text + "Pictures: logarithm of the mean amplitude over images and channels."}


def _panel(number: int, output: np.ndarray) -> dict[str, Any]:
    drawn = enlarged(grey(np.log(spectrum(output) + 1e-12)), (SIDE, SIDE))
    return {"caption": f"block {number}, {100 * high_share(output):.1f} % high", "image": drawn}


def spectrum(output: np.ndarray) -> np.ndarray:
    """Mean amplitude over images and channels of maps [N, H, W, C]: [H, W], the constant in the middle."""
    return np.fft.fftshift(np.abs(np.fft.fft2(output, axes=(1, 2))).mean(axis=(0, 3)))


def high_share(output: np.ndarray, *, constant: bool = True) -> float:
    """The share of the energy of maps [N, H, W, C] at frequencies beyond half of Nyquist's.

    A frequency is beyond it where that of rows or that of columns is: more than a quarter of a cycle a position.

    Args:
        output: the maps.
        constant: whether each channel's mean over positions is of the energy; what a bias adds is of it.
    """
    energy = (np.abs(np.fft.fft2(output, axes=(1, 2))) ** 2).sum(axis=(0, 3))
    energy[0, 0] *= constant
    rows, columns = (np.abs(np.fft.fftfreq(size)) > 0.25 for size in output.shape[1:3])
    return float(energy[rows[:, None] | columns[None]].sum() / energy.sum())


@paddle.no_grad()
def _paths(model: LITv2, images: paddle.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """What Hi-Fi and Lo-Fi give in every block that has both, [N, H, W, channels of the path]."""
    found, x = [], model.patch_embed(images)
    for stage in model.layers:
        for block in stage.blocks:
            if block.attn is not None and block.attn.h_heads and block.attn.l_heads:
                found.append(tuple(path.numpy() for path in block.attn.paths(block.norm1(x))))
            x = block(x)
        x = x if stage.downsample is None else stage.downsample(x)
    return found

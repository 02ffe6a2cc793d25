"""What a masked autoencoder makes of images: what it saw, what it predicts, and the images themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.layers import checks, patchify
from ppcore.photo.panels import Show, at_least, stretched_like
from ppssl.mae import MaskedAutoencoder, patch_statistics
from ppssl.masking import mask_of_images

SHOWN, SIDE = 4, 160  # images; pixels that a picture has at least
CAPTIONS = {"masked": "what is seen", "filled": "removed patches predicted", "original": "the image"}
GREY = 0.0  # of a removed patch, in normalised pixels


@paddle.no_grad()
def reconstructions(
    model: MaskedAutoencoder,
    images: paddle.Tensor,
    mask_ratio: float = 0.75,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Images as the network sees them and makes them.

    A network of `norm_pix_loss` predicts patches without their own mean and deviation; here each gets the ones it has in the image.

    Args:
        model: in evaluation mode.
        images: [B, C, H, W], normalised as in training.
        mask_ratio: share of the patches that is removed.
        seed: of the masks.
        numbers: of the images, which their masks follow (as those of `ReconstructionError` do); None: 0, 1, ….

    Returns:
        `masked`, `predicted` (every patch), `filled` (the predicted ones where patches are removed) and `original`, float32
        [B, C, H, W], and `removed` [B, N], 1 where a patch is.
    """
    grid = model.grid
    numbers = range(images.shape[0]) if numbers is None else numbers
    mask = mask_of_images(np.array(numbers), grid[0] * grid[1], mask_ratio, seed)
    predicted = model.reconstruct(images, mask.keep, mask.restore)
    patches = patchify(images, model.patch_size)
    if model.norm_pix_loss:
        mean, deviation = patch_statistics(patches)
        predicted = predicted * deviation + mean
    removed = mask.removed.unsqueeze(-1)
    made = {
        "masked": patches * (1 - removed) + GREY * removed,
        "predicted": predicted,
        "filled": patches * (1 - removed) + predicted * removed,
        "original": patches,
    }
    found = {name: unpatchify(array.numpy(), grid, model.patch_size) for name, array in made.items()}
    return {**found, "removed": mask.removed.numpy()}


def unpatchify(patches: np.ndarray, grid: tuple[int, int], side: int) -> np.ndarray:
    """Images of flattened patches, channels fastest: [B, N, side·side·C] -> [B, C, H, W]."""
    pixels = patches.reshape(len(patches), *grid, side, side, -1)  # [B, rows, columns, side, side, C]
    pixels = pixels.transpose(0, 5, 1, 3, 2, 4)
    return pixels.reshape(len(patches), -1, grid[0] * side, grid[1] * side)


def pictures(
    model: MaskedAutoencoder,
    x: paddle.Tensor,
    numbers: Sequence[int] | None = None,
    show: Show | None = None,
    *,
    mask_ratio: float = 0.75,
    seed: int = 0,
) -> list[list[dict[str, Any]]]:
    """What is seen of images, their reconstructions, and the images.

    Args:
        model: in evaluation mode.
        x: [B, C, H, W].
        numbers: see `reconstructions`.
        show: draws an image; None: all of an image's as itself is stretched to its range.
        mask_ratio: see `reconstructions`.
        seed: likewise.

    Returns:
        For each image its panels {caption, image uint8 [H, W, 3]}.

    Raises:
        ConfigError: an argument out of its range.
    """
    checks.rate(model, mask_ratio=mask_ratio)
    checks.whole(model, 0, seed=seed)
    made = reconstructions(model, x, mask_ratio, seed, numbers)
    return [
        [
            {"caption": text, "image": at_least((show or stretched_like(original))(made[name][i]), SIDE)}
            for name, text in CAPTIONS.items()
        ]
        for i, original in enumerate(made["original"])
    ]


def draw(model: MaskedAutoencoder, images: paddle.Tensor, mask_ratio: float = 0.75) -> dict[str, Any]:
    """The first images as masked, reconstructed and original.

    Args:
        model: in evaluation mode.
        images: [N, C, H, W]; the first ones are drawn.
        mask_ratio: share of the patches that is removed.

    Returns:
        `rows` of panels {caption, image}, one an image, and `text`.
    """
    rows = [{"label": "", "panels": panels} for panels in pictures(model, images[:SHOWN], mask_ratio=mask_ratio)]
    text = f"{mask_ratio:.0%} of the patches are removed, and predicted from the others."
    if model.norm_pix_loss:
        text += " The network predicts patches without their mean and contrast: each is given its own from the image."
    return {"rows": rows, "text": text}

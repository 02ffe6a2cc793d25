"""What a masked autoencoder makes of images: what it saw, what it predicts, and the images themselves."""

from typing import Any

import numpy as np
import paddle

from ppcore.layers import patchify
from ppcore.photo.panels import enlarged, stretched
from ppssl.mae import MaskedAutoencoder, patch_statistics
from ppssl.masking import random_mask

SHOWN, SIDE = 4, 160  # images; pixels
GREY = 0.0  # of a removed patch, in normalised pixels


@paddle.no_grad()
def reconstructions(
    model: MaskedAutoencoder, images: paddle.Tensor, mask_ratio: float = 0.75, seed: int = 0
) -> dict[str, np.ndarray]:
    """Images as the network sees them and makes them.

    A network of `norm_pix_loss` predicts patches without their own mean and deviation; here each gets the ones it has in the image.

    Args:
        model: in evaluation mode.
        images: [B, C, H, W], normalised as in training.
        mask_ratio: share of the patches that is removed.
        seed: of the masks.

    Returns:
        `masked`, `predicted` (every patch), `filled` (the predicted ones where patches are removed) and `original`, float32
        [B, C, H, W], and `removed` [B, N], 1 where a patch is.
    """
    grid = model.grid
    mask = random_mask(np.random.default_rng(seed).random((images.shape[0], grid[0] * grid[1])), mask_ratio)
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


def draw(model: MaskedAutoencoder, images: paddle.Tensor, mask_ratio: float = 0.75) -> dict[str, Any]:
    """The first images as masked, reconstructed and original.

    Args:
        model: in evaluation mode.
        images: [N, C, H, W]; the first ones are drawn.
        mask_ratio: share of the patches that is removed.

    Returns:
        `rows` of panels {caption, image}, one an image, and `text`.
    """
    made, rows = reconstructions(model, images[:SHOWN], mask_ratio), []
    captions = {"masked": "what is seen", "filled": "removed patches predicted", "original": "test image"}
    for number in range(len(made["original"])):
        # One stretch for the three, so that they can be compared.
        strip = np.concatenate([made[name][number] for name in captions], axis=2)
        pictures = np.split(stretched(strip.clip(*_range(made["original"][number]))), len(captions), axis=1)
        panels = [
            {"caption": caption, "image": enlarged(np.ascontiguousarray(picture), (SIDE, SIDE))}
            for caption, picture in zip(captions.values(), pictures, strict=True)
        ]
        rows.append({"label": "", "panels": panels})
    text = f"{mask_ratio:.0%} of the patches are removed, and predicted from the others."
    if model.norm_pix_loss:
        text += " The network predicts patches without their mean and contrast: each is given its own from the image."
    return {"rows": rows, "text": text}


def _range(image: np.ndarray) -> tuple[float, float]:
    return float(image.min()), float(image.max())

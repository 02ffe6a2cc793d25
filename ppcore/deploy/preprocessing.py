"""From an image file to the input of an exported classifier, and from its output to names: no Paddle, no configuration."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ppcore import data
from ppcore.deploy.manifest import Manifest
from ppcore.errors import ConfigError, DataError, reason

_PREFIX = "ppcore.data."
# What an evaluation does to an image by itself, with no randomness and no other arrays.
STEPS = ("CenterCrop", "Grayscale", "Normalize", "Resize")


def recordable(steps: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why these steps cannot be recorded in an export; None where they can."""
    for name, node in steps.items():
        if not isinstance(node.get("name"), str) or node["name"].removeprefix(_PREFIX) not in STEPS:
            return f"the step {name} is {node.get('name')}, and only {', '.join(_PREFIX + step for step in STEPS)} are"
    if not steps or list(steps.values())[-1]["name"] != f"{_PREFIX}Normalize":
        return "the steps do not end with ppcore.data.Normalize"
    return None


class Preprocessing:
    """Image files to input.

    Args:
        steps: named transforms, each `{"name": "ppcore.data.…", arguments}`, `Normalize` the last.
        channels: of the input; with 1, colours become their luma.

    Attributes:
        transforms: of an image, in order.

    Raises:
        ConfigError: a step is none of `STEPS`, or does not take its arguments.
    """

    def __init__(self, steps: Mapping[str, Mapping[str, Any]], channels: int = 3):
        if why := recordable(steps):
            raise ConfigError(f"preprocessing of the export: {why}")
        self.transforms: list[Callable] = [data.Grayscale()] if channels == 1 else []
        for name, node in steps.items():
            arguments = {key: value for key, value in node.items() if key != "name"}
            try:
                self.transforms.append(getattr(data, node["name"].removeprefix(_PREFIX))(**arguments))
            except TypeError as error:
                raise ConfigError(f"preprocessing of the export, {name}: {reason(error)}") from None

    @classmethod
    def of(cls, manifest: Manifest) -> "Preprocessing":
        """What a manifest says.

        Raises:
            ConfigError: it says nothing.
        """
        if manifest.model.preprocessing is None:
            raise ConfigError(
                f"this export of {manifest.arch} says nothing of preprocessing: export it with tools/export_model.py "
                "and a configuration that has DataLoader.Eval.transforms, or give the predictor arrays"
            )
        return cls(manifest.model.preprocessing, manifest.stages[0].inputs["x"][1])

    def __call__(self, image: str | os.PathLike | np.ndarray) -> np.ndarray:
        """Maps a file, or uint8 [H, W, 3] RGB, to float32 [C, H, W].

        Raises:
            DataError: it cannot be read, or has another form.
        """
        pixels = image if isinstance(image, np.ndarray) else data.read_image(image)
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise DataError(f"an image must be a file, or uint8 [H, W, 3]; got {pixels.dtype} {list(pixels.shape)}")
        for transform in self.transforms:
            pixels = transform(pixels, None)
        return pixels


def best(logits: np.ndarray, topk: int, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """The likeliest classes of logits [K]: `{class, name, probability}`, of equals the one with the lower number first.

    Raises:
        DataError: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise DataError("the network's logits are not finite; check the weights, or use precision fp32")
    powers = np.exp(logits - logits.max())
    probability = powers / powers.sum()
    return [
        {
            "class": int(number),
            "name": names[number] if names and number < len(names) else None,
            "probability": float(probability[number]),
        }
        for number in np.argsort(-probability, kind="stable")[:topk]
    ]

"""preprocessor_config.json: what `DataLoader.Eval.transforms` do, for Hugging Face's image processors.

Theirs resize with Pillow, cut the centre, rescale and normalise, in that order. What they cannot do is an error; what they do a
little otherwise is said.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ppcore.errors import WeightsError

NAME = "preprocessor_config.json"
# Pillow's numbers of its resampling filters.
_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}
_ORDER = ("Resize", "CenterCrop", "Normalize")

Step = Mapping[str, Any]


def processor_config(steps: Mapping[str, Step], img_size: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    """The content of preprocessor_config.json, and what differs from the steps, in words.

    Args:
        steps: named steps with every argument.
        img_size: (height, width) that the network takes.

    Raises:
        WeightsError: a step that they have not, steps in another order, images of another size or number of channels.
    """
    kinds = [str(step["name"]).rpartition(".")[2] for step in steps.values()]
    for key, kind in zip(steps, kinds, strict=True):
        if kind not in _ORDER:
            raise WeightsError(f"DataLoader.Eval.transforms.{key}: {NAME} cannot say {kind}: {_LEAVE}")
    if sorted(kinds, key=_ORDER.index) != kinds or kinds.count("Resize") > 1 or kinds.count("Normalize") != 1:
        raise WeightsError(f"DataLoader.Eval.transforms: {NAME} cannot say {' -> '.join(kinds)}: {_LEAVE}")
    by_kind = {kind: [step for step, own in zip(steps.values(), kinds, strict=True) if own == kind] for kind in _ORDER}
    [normalize], notes = by_kind["Normalize"], []
    if len(normalize["mean"]) != 3:
        raise WeightsError(
            f"DataLoader.Eval.transforms: {NAME} is for images of 3 channels, not {len(normalize['mean'])}"
        )
    found = {"do_convert_rgb": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    found |= {"image_mean": list(normalize["mean"]), "image_std": list(normalize["std"])}
    found |= _resize(by_kind["Resize"], img_size, notes) | _crop(by_kind["CenterCrop"], img_size, notes)
    final = found["crop_size"] if found["do_center_crop"] else found["size"]
    if final != _sides(img_size):
        raise WeightsError(
            f"DataLoader.Eval.transforms give {final} images where the network takes {img_size[0]}x{img_size[1]}: "
            "set their sizes"
        )
    # ViT's processor never crops, and all releases know it; BiT's does both.
    kind = "BitImageProcessor" if found["do_center_crop"] else "ViTImageProcessor"
    return {"image_processor_type": kind, **found}, notes


_LEAVE = "leave the step out with -o, or write the layout timm"


def _resize(steps: list[Step], img_size: tuple[int, int], notes: list[str]) -> dict[str, Any]:
    if not steps:
        notes.append(f"images are not resized: only those of {img_size[0]}x{img_size[1]} pixels fit")
        return {"do_resize": False, "size": _sides(img_size), "resample": _FILTERS["bicubic"]}
    [step] = steps
    if step.get("backend", "pil") != "pil":
        notes.append(
            f"Resize(backend={step['backend']}): {NAME} resizes with Pillow, so pixels, and with them logits, differ a little"
        )
    size = step["size"]
    size = size[0] if isinstance(size, list) and len(size) == 1 else size
    sides = {"shortest_edge": size} if isinstance(size, int) else _sides(size)
    return {"do_resize": True, "size": sides, "resample": _FILTERS[step.get("interpolation", "bicubic")]}


def _crop(steps: list[Step], img_size: tuple[int, int], notes: list[str]) -> dict[str, Any]:
    if not steps:
        return {"do_center_crop": False}
    sizes = [_sides(step["size"]) for step in steps]
    for outer, inner in pairwise(sizes):
        if any(outer[key] < inner[key] or (outer[key] - inner[key]) % 2 for key in outer):
            raise WeightsError(f"DataLoader.Eval.transforms: {NAME} has one crop, and these are not one: {_LEAVE}")
    notes.append(
        "where the margin of the centre crop is odd, transformers rounds it down and this suite (as torchvision) to even: "
        "for such images the crop may lie one pixel aside"
    )
    return {"do_center_crop": True, "crop_size": sizes[-1]}


def _sides(size: Any) -> dict[str, int]:
    height, width = (size, size) if isinstance(size, int) else (size * 2)[:2]
    return {"height": int(height), "width": int(width)}

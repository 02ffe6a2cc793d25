"""Classified images and their attention, as PNG bytes for a page and as one sheet for Markdown."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ppcore.photo.heat import overlay, unit_range
from ppcore.report.content_types import ClassifiedImage

_SIDE = 224  # pixels on the page; a smaller image is enlarged by a whole factor so that its pixels stay visible


def image_cards(images: Sequence[ClassifiedImage], classes: Sequence[str] | None = None) -> list[dict]:
    """Prepares classified images for display.

    Args:
        images: the images.
        classes: names for integer labels.

    Returns:
        Dicts {image, overlay: PNG bytes (overlay None without attention), label, pred, prob, topk, correct}.

    Raises:
        ValueError: An image is not uint8 with one or three channels.
    """
    cards = []
    for number, item in enumerate(images):
        image = np.asarray(item.image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise ValueError(
                f"classified image {number}: must be uint8 [H, W, 3 or 1], got {image.dtype} {image.shape}"
            )
        shown = _for_page(np.broadcast_to(image, (*image.shape[:2], 3)))
        label, pred = _name(item.label, classes), _name(item.pred, classes)
        attended = item.attention is not None
        cards.append(
            {
                "image": png(shown),
                "overlay": png(overlay(shown, unit_range(np.asarray(item.attention)))) if attended else None,
                "label": label,
                "pred": pred,
                "prob": float(item.prob),
                "topk": [(_name(name, classes), float(share)) for name, share in item.topk],
                "correct": label == pred,
            }
        )
    return cards


def _name(label: str | int, classes: Sequence[str] | None) -> str:
    return str(classes[label]) if classes and isinstance(label, (int, np.integer)) else str(label)


def _for_page(image: np.ndarray) -> np.ndarray:
    side = max(image.shape[:2])
    if side * 2 <= _SIDE:
        return np.kron(image, np.ones((_SIDE // side, _SIDE // side, 1), np.uint8))
    if side <= 2 * _SIDE:
        return image
    scale = 2 * _SIDE / side
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def png(image: np.ndarray) -> bytes:
    """Returns uint8 [H, W, 3] RGB as PNG."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()


def contact_sheet(cards: Sequence[dict], columns: int = 4) -> bytes:
    """Returns one PNG on white: every image with its attention beside it and a caption, `columns` pairs a row."""
    columns = min(columns, len(cards))
    rows = -(-len(cards) // columns)
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 8.5, "text.parse_math": False}):
        figure = Figure(figsize=(3.1 * columns, 1.95 * rows), dpi=160, layout="constrained", facecolor="white")
        for number, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
            axes.axis("off")
            if number < len(cards):
                card = cards[number]
                parts = [_square(data) for data in (card["image"], card["overlay"]) if data]
                gap = np.full((_SIDE, 10, 3), 255, np.uint8)
                axes.imshow(np.hstack([parts[0], *(part for other in parts[1:] for part in (gap, other))]))
                mark, label = ("✓", "") if card["correct"] else ("✗", f", label {card['label']}")
                colour = "#1d6b45" if card["correct"] else "#a2281f"
                axes.set_title(
                    f"{mark} {card['pred']}: {100 * card['prob']:.1f} %{label}", color=colour, loc="left", pad=4
                )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return png(np.asarray(canvas.buffer_rgba())[..., :3])


def _square(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return cv2.resize(
        image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if max(image.shape) > _SIDE else cv2.INTER_NEAREST
    )

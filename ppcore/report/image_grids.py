"""Rows of captioned photographs: enhanced test images, and the paper's figures drawn anew."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ppcore.report import published_vs_ours
from ppcore.report.published import PaperTables

_WIDTH = 480  # pixels on the page
_MARGIN, _LINE = 8, 22


def restored(items: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict]:
    """Plates of enhanced images, one a run.

    Args:
        items: as `ppcore.reproduce.qualitative.pictures` gives them.
        titles: what a run's data is called, by the run's name.
    """
    return [
        _plate(f"restored_{item['run']}", titles.get(item["run"], item["data"]), item["rows"],
               text=f"By the run {item['run']}.")
        for item in items
    ]  # fmt: skip


def drawn(paper: PaperTables, items: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Plates of the paper's figures, one a figure and quick config."""
    known = {figure.id: figure for figure in paper.figures_drawn}
    datasets = {item.config: item.dataset for item in paper.quick}
    return [
        _plate(
            f"{item['figure']}_{item['run']}",
            known[item["figure"]].title,
            item["rows"],
            text=item["text"],
            data=datasets[item["config"]],
            note=known[item["figure"]].note,
            source=published_vs_ours.cite(known[item["figure"]].source, paper),
        )
        for item in items
    ]


def _plate(name: str, title: str, rows: Sequence[Mapping], **about: Any) -> dict:
    shown = [
        {
            "label": row["label"],
            "panels": [{"caption": p["caption"], "jpeg": jpeg(_for_page(p["image"]))} for p in row["panels"]],
        }
        for row in rows
    ]
    plate = {"data": "", "note": "", "source": None, "text": "", **about}
    return {"name": re.sub(r"[^a-z0-9]+", "_", name.lower()), "title": title, "rows": shown, **plate}


def facts(plate: Mapping) -> dict:
    """What a plate says, without its images."""
    rows = [{"label": row["label"], "captions": [p["caption"] for p in row["panels"]]} for row in plate["rows"]]
    return {**{key: plate[key] for key in ("name", "title", "data", "text", "note")}, "rows": rows}


def sheet(plate: Mapping) -> bytes:
    """A plate as one JPEG on white, each photograph with its caption below."""
    lines = [np.hstack([_captioned(panel) for panel in _same_height(row["panels"])]) for row in plate["rows"]]
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return jpeg(np.vstack(lines))


def _same_height(panels: Sequence[Mapping]) -> list[tuple[np.ndarray, str]]:
    images = [cv2.imdecode(np.frombuffer(p["jpeg"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for p in panels]
    least = min(image.shape[0] for image in images)
    return [(image[:least], panel["caption"]) for image, panel in zip(images, panels, strict=True)]


def _captioned(panel: tuple[np.ndarray, str]) -> np.ndarray:
    """The photograph on white with its caption in as many lines as it needs."""
    image, caption = panel
    below = np.full((3 * _LINE, image.shape[1], 3), 255, np.uint8)
    lines, letters = [""], max(image.shape[1] // 8, 8)
    for word in caption.encode("ascii", "replace").decode().split():  # OpenCV's letters are ASCII
        lines = [*lines, word] if len(lines[-1]) + len(word) >= letters else [*lines[:-1], f"{lines[-1]} {word}"]
    for number, line in enumerate(lines[:3]):
        cv2.putText(
            below, line.strip(), (2, 16 + _LINE * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA
        )
    stacked = np.vstack([image, below])
    return np.pad(stacked, ((_MARGIN, 0), (_MARGIN, 0), (0, 0)), constant_values=255)


def _for_page(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a plate's image must be uint8 [H, W, 3], got {image.dtype} {image.shape}")
    if image.shape[1] <= _WIDTH:
        return image
    return cv2.resize(image, None, fx=_WIDTH / image.shape[1], fy=_WIDTH / image.shape[1], interpolation=cv2.INTER_AREA)


def jpeg(image: np.ndarray) -> bytes:
    """Returns uint8 [H, W, 3] RGB as JPEG of quality 92, colours at full resolution."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()

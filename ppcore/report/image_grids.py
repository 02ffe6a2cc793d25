"""Rows of captioned photographs: enhanced test images, and the paper's figures drawn anew."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ppcore.photo.panels import side_by_side
from ppcore.report.content_types import EvaluatedNetworks, FigureGrid, ImageGrid, PanelRow
from ppcore.report.published import PaperTables

_WIDTH = 480  # pixels on the page


def enhanced_grids(grids: Sequence[ImageGrid], titles: Mapping[str, str]) -> list[dict]:
    """Enhanced images for the page, a grid a run; `titles` says what a run's data is called, by the run's name."""
    return [
        _grid(f"enhanced_{grid.run}", titles.get(grid.run, grid.data), grid.rows, text=f"By the run {grid.run}.")
        for grid in grids
    ]


def method_grids(evaluated: Sequence[EvaluatedNetworks]) -> list[dict | None]:
    """One test image by every method for the page, one grid an evaluation; None where there is none."""
    return [
        _grid(
            f"methods_{number}",
            "One test image by every method",
            one.pictures,
            text="Clamped and rounded to 8 bits, as a file holds it.",
        )
        if one.pictures
        else None
        for number, one in enumerate(evaluated, 1)
    ]


def figure_grids(paper: PaperTables, grids: Sequence[FigureGrid]) -> list[dict]:
    """The paper's figures for the page, one a figure and quick config."""
    known = {figure.id: figure for figure in paper.figures_drawn}
    return [
        _grid(
            f"{grid.figure}_{grid.run}",
            known[grid.figure].title,
            grid.rows,
            text=grid.text,
            data=paper.quick_of(grid.config).dataset,
            note=known[grid.figure].note,
            source=paper.cite(known[grid.figure].source),
        )
        for grid in grids
    ]


def _grid(name: str, title: str, rows: Sequence[PanelRow], **about: Any) -> dict:
    shown = [
        {
            "label": row.label,
            "panels": [{"caption": panel.caption, "jpeg": jpeg(_for_page(panel.image))} for panel in row.panels],
        }
        for row in rows
    ]
    about = {"data": "", "note": "", "source": None, "text": "", **about}
    return {"name": re.sub(r"[^a-z0-9]+", "_", name.lower()), "title": title, "rows": shown, **about}


def grid_facts(grid: Mapping) -> dict:
    """What a grid says, without its images."""
    rows = [{"label": row["label"], "captions": [p["caption"] for p in row["panels"]]} for row in grid["rows"]]
    return {**{key: grid[key] for key in ("name", "title", "data", "text", "note")}, "rows": rows}


def grid_sheet(grid: Mapping) -> bytes:
    """A grid as one JPEG on white, each photograph with its caption below."""
    lines = [side_by_side([(_decoded(p["jpeg"]), p["caption"]) for p in row["panels"]]) for row in grid["rows"]]
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return jpeg(np.vstack(lines))


def _decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def _for_page(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the image of a panel must be uint8 [H, W, 3], got {image.dtype} {image.shape}")
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

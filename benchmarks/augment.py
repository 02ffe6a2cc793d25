"""Images a second of a training pipeline on one core, beside the same pipeline on Pillow and numpy."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data

from benchmarks import pillow_pipeline
from ppcore import runtime
from ppcore.config import components
from ppcore.data import decode_image, read_image, resize_image
from ppcore.errors import DataError

HEIGHT, WIDTH = 375, 500  # the commonest size in ImageNet
QUALITY = 95
STAGES = ("decode", "crop", "flip", "augment", "normalize", "erase")
Stage = Callable[[Any, Any, np.random.Generator], Any]


def photographs(folder: str | Path | None, limit: int = 64) -> list[bytes]:
    """JPEGs of 500x375 pixels, made in memory.

    Args:
        folder: of JPEG files; None takes five photographs that come with scikit-image, several cuts of each.
        limit: number of files, the first by name.

    Raises:
        DataError: the folder has no JPEG.
    """
    if folder is None:
        sources = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "retina")]
        images = [source[shift:, shift:] for shift in (0, 20, 40, 60) for source in sources]
    else:
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        if not paths:
            raise DataError(f"--data: there is no JPEG in {folder}")
        images = [read_image(path) for path in paths[:limit]]
    return [_jpeg(resize_image(image, HEIGHT, WIDTH)) for image in images]


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def pipelines(transforms: Mapping[str, Mapping]) -> tuple[dict[str, list[Stage]], list[Any]]:
    """The stages of `ours` and `pillow`, and the transforms both take their parameters from.

    Args:
        transforms: a component for each of STAGES after the first: RandomResizedCrop,
            RandomHorizontalFlip, RandAugment, Normalize and RandomErasing.
    """
    built = [None, *(components.build(transforms[stage]) for stage in STAGES[1:])]
    ours = [lambda jpeg, _, rng: decode_image(jpeg, "a JPEG")] + [lambda image, t, rng: t(image, rng)] * 5
    return {"ours": ours, "pillow": [getattr(pillow_pipeline, stage) for stage in STAGES]}, built


def run_once(stages: Sequence[Stage], transforms: Sequence[Any], jpeg: bytes, seed: int, spent: np.ndarray) -> Any:
    """Makes one training image, float32 [C, H, W]; adds the CPU seconds of each stage to `spent`."""
    rng, image = np.random.default_rng(seed), jpeg
    for number, (stage, transform) in enumerate(zip(stages, transforms, strict=True)):
        begin = time.process_time()
        image = stage(image, transform, rng)
        spent[number] += time.process_time() - begin
    return image


def augment(transforms: Mapping[str, Mapping], jpegs: Sequence[bytes], rounds: int = 9) -> dict[str, Any]:
    """Times both pipelines in this process on one thread, in turns.

    Every round makes each image once with each pipeline and with new random parameters; who goes
    first alternates. The first round warms up and does not count. Time is the process's CPU time, which
    on an idle core is the clock's (nothing here waits), and on a busy one is still what a core does.

    Returns:
        `rows` (pipeline, images/s: median, lowest and highest round; milliseconds of each stage, the
        medians), `ratio` of ours to Pillow's (median of the rounds' ratios), and `difference`: mean
        distance of the two pipelines' results in grey levels, which shows that they do the same work.
    """
    both, built = pipelines(transforms)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in both}
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for number in range(rounds + 1):
            for name in sorted(both, reverse=bool(number % 2)):
                spent = np.zeros(len(STAGES))
                for place, jpeg in enumerate(jpegs):
                    run_once(both[name], built, jpeg, number * len(jpegs) + place, spent)
                seconds[name].append(spent)
        difference = _difference(both, built, jpegs)
    finally:
        cv2.setNumThreads(threads)
    rows, totals = [], {}
    for name, spent in seconds.items():
        milliseconds = np.array(spent[1:]) * 1e3 / len(jpegs)  # [rounds, stages]
        totals[name] = milliseconds.sum(axis=1)
        rates = 1e3 / totals[name]
        rows.append(
            {"pipeline": name, "images_per_second": float(np.median(rates)), "lowest_round": float(rates.min()),
             "highest_round": float(rates.max()),
             "milliseconds": dict(zip(STAGES, np.median(milliseconds, axis=0).tolist(), strict=True))}
        )  # fmt: skip
    machine = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores(), "threads": 1}
    return {
        "what": "augment", "images": len(jpegs), "mean_bytes": float(np.mean([len(jpeg) for jpeg in jpegs])),
        "rounds": rounds, "machine": machine, "rows": rows, "ratio": float(np.median(totals["pillow"] / totals["ours"])),
        "difference": difference,
    }  # fmt: skip


def _difference(both: Mapping[str, Sequence[Stage]], built: Sequence[Any], jpegs: Sequence[bytes]) -> float:
    """Mean distance of the results of the two pipelines, in grey levels of 0..255."""
    unused = np.zeros(len(STAGES))
    levels = np.array(built[STAGES.index("normalize")].std)[:, None, None] * 255
    return float(
        np.mean(
            [
                np.mean(
                    np.abs(np.subtract(*(run_once(both[name], built, jpeg, seed, unused) for name in both))) * levels
                )
                for seed, jpeg in enumerate(jpegs)
            ]
        )
    )


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table: milliseconds an image by stage, images/s."""
    lines = [
        f"{result['images']} JPEGs of {WIDTH}x{HEIGHT}, {result['mean_bytes'] / 1000:.0f} kB on average; "
        f"{result['rounds']} rounds; one thread of {result['machine']['cpu']}",
        "",
        "| pipeline | " + " | ".join(f"{stage}, ms" for stage in STAGES) + " | images/s | rounds |",
        "|---" * (len(STAGES) + 3) + "|",
    ]
    for row in result["rows"]:
        stages = " | ".join(f"{row['milliseconds'][stage]:.2f}" for stage in STAGES)
        lines.append(
            f"| {row['pipeline']} | {stages} | {row['images_per_second']:.0f} "
            f"| {row['lowest_round']:.0f}–{row['highest_round']:.0f} |"
        )
    lines += [
        "",
        f"ours / pillow: {result['ratio']:.2f}×; mean difference of their images: {result['difference']:.1f} of 255",
    ]
    return "\n".join(lines)

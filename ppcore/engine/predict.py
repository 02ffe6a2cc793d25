"""Classifying images: files, folders, globs, or samples of a dataset. Networks that make images: `enhance`."""

import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.config import Config
from ppcore.data import IMAGE_SUFFIXES, EvalLoader, EvalStream, FileImages
from ppcore.engine import build, distributed, enhance
from ppcore.engine.evaluate import load_model
from ppcore.engine.events import log, setup_logging, write_json
from ppcore.engine.precision import say_float32
from ppcore.errors import ConfigError, DataError
from ppcore.report.rollout import attention_rollout, overlay, unit_range


def find_images(inputs: str | Sequence[str]) -> list[str]:
    """Image files named by files, folders (searched through) and globs, each once, in order.

    Raises:
        DataError: an input matches nothing; the message names it.
    """
    found: dict[str, None] = {}
    for text in [inputs] if isinstance(inputs, str) else inputs:
        # os.path, because pathlib's tests raise for a name that is too long or may not be looked at.
        if os.path.isdir(text):
            matches = sorted(
                str(p) for p in Path(text).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
            )
        elif os.path.isfile(text):
            matches = [text]
        else:
            matches = sorted(m for m in glob.glob(text, recursive=True) if os.path.isfile(m))
        if not matches:
            raise DataError(f"Infer.input: '{text}' is no image, no folder with images and no matching glob")
        found.update(dict.fromkeys(matches))
    return list(found)


def class_names(given: str | Sequence[str] | None, fallback: Sequence[str] | None) -> list[str] | None:
    """Names from a list, from a text file with one name a line, or from the dataset.

    Raises:
        ConfigError: the file does not exist.
    """
    if given is None:
        return list(fallback) if fallback else None
    if isinstance(given, str):
        if not Path(given).is_file():
            raise ConfigError(f"Infer.class_names: no such file {given}")
        return Path(given).read_text(encoding="utf-8").splitlines()
    return list(given)


@paddle.no_grad()
def predictions(
    model: nn.Layer, loader: EvalLoader, *, topk: int, names: Sequence[str] | None, rollout: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields one dictionary an image of a loader.

    Args:
        model: a classifier; `attention_maps`, `grid` and `tokens_read` are needed for rollout.
        loader: the images.
        topk: how many classes to name.
        names: class names in label order.
        rollout: whether to add `attention`, float [h, w] in 0..1 over the patch grid.

    Yields:
        `index` of the image in the loader's dataset, `label`, `topk` as a list of
        {class, name, probability}, and `attention` when asked for.
    """
    model.eval()
    for batch in loader:
        image = paddle.to_tensor(batch["image"])
        probability = F.softmax(model(image).astype("float32")).numpy()
        flows: list[Any] = [None] * len(probability)
        if rollout:
            maps = [m.numpy() for m in model.attention_maps(image)]
            rolled = attention_rollout(
                maps, num_prefix_tokens=model.num_prefix_tokens, grid=model.grid, tokens=model.tokens_read
            )
            flows = [unit_range(flow) for flow in rolled]
        for i, row in enumerate(probability):
            order = np.argsort(-row, kind="stable")[:topk]
            yield {
                "index": int(batch["index"][i]),
                "label": int(batch["label"][i]),
                "topk": [
                    {"class": int(c), "name": names[c] if names and c < len(names) else None,
                     "probability": float(row[c])}
                    for c in order
                ],
                **({"attention": flows[i]} if rollout else {}),
            }  # fmt: skip


def run(config: Config, weights_path: str | None = None, source: str | None = None) -> list[dict[str, Any]]:
    """What `tools/infer.py` does: classify `Infer.input`, print a line an image, write JSON.

    A model whose `task` is `restoration` makes images instead: `ppcore.engine.enhance.run`.

    Args:
        config: the configuration; preprocessing is `DataLoader.Eval.transforms`.
        weights_path: as for `ppcore.engine.evaluate.load_model`.
        source: likewise.

    Returns:
        The records written to `predictions.json`, one an image that could be read.

    Raises:
        ConfigError, DataError: no input, nothing found, or unreadable images under `raise`.
    """
    wanted = config.Infer
    if wanted.input is None:
        raise ConfigError("Infer.input is not set: -o Infer.input=FILE, FOLDER or GLOB")
    setup_logging()
    files = find_images(wanted.input)
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    model, used = load_model(config, weights_path, source)
    if getattr(model, "task", None) == "restoration":
        return enhance.run(config, loaded=(model, str(used)))
    if wanted.rollout and not hasattr(model, "attention_maps"):
        raise ConfigError(f"Infer.rollout: {config.Arch['name']} has no attention maps")
    part = build.section(config, "Eval")
    names = class_names(wanted.class_names, _dataset_classes(config))
    images = FileImages(files, np.zeros(len(files), np.int64), None, 1)
    stream = EvalStream(len(files), wanted.batch_size, world.rank, world.size)
    loader = EvalLoader(images, build.transforms(part.transforms), stream, part.num_workers, wanted.unreadable)
    folder = Path(wanted.output) if wanted.output else Path(config.Global.output_dir) / "infer"
    folder.mkdir(parents=True, exist_ok=True)
    say_float32(config.AMP, "inference")
    log.info("%d images, weights %s", len(files), used)
    records = []
    for found in predictions(model, loader, topk=wanted.topk, names=names, rollout=wanted.rollout):
        file = files[found["index"]]
        record = {"file": file, "topk": found["topk"]}
        if wanted.rollout:
            record["rollout"] = str(_save_overlay(folder, file, found["index"], images, found["attention"]))
        best = record["topk"][0]
        print(f"{file}: {best['name'] or best['class']} {best['probability']:.4f}", flush=True)
        records.append(record)
    for message in loader.skipped_messages:
        print(f"skipped: {message}", file=sys.stderr)
    write_json(folder / "predictions.json", {"weights": str(used), "skipped": loader.skipped, "images": records})
    log.info(
        "%s",
        json.dumps({"written": str(folder / "predictions.json"), "images": len(records), "skipped": loader.skipped}),
    )
    return records


def _dataset_classes(config: Config) -> list[str] | None:
    """Class names that the run recorded when it was trained, if it was."""
    metrics = Path(config.Global.output_dir) / "metrics.jsonl"
    if not metrics.is_file():
        return None
    with metrics.open(encoding="utf-8") as file:
        return json.loads(file.readline() or "{}").get("classes")


def _save_overlay(folder: Path, file: str, index: int, images: FileImages, attention: np.ndarray) -> Path:
    """Writes the image with its attention rollout over it; the number keeps equal names apart."""
    target = folder / f"{index:05d}_{Path(file).stem}_rollout.png"
    painted = overlay(images.load(index)["image"], attention)
    cv2.imwrite(str(target), cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))
    return target

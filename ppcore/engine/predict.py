"""Classifying images: files, folders, globs, or samples of a dataset. Networks that make images: `enhance`."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.config import Config, InferSection, Pretrained
from ppcore.data import EvalBatchSampler, EvalLoader, FileImages, find_images
from ppcore.deploy.networks import Network, classifier, eager
from ppcore.engine import build, distributed
from ppcore.engine.attention_pictures import save_overlay
from ppcore.engine.distributed import World
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import clock, log, setup_logging
from ppcore.engine.pace import Pace
from ppcore.engine.precision import say_float32
from ppcore.engine.rollout import attention_rollout
from ppcore.engine.trained import Used, load_model
from ppcore.errors import ConfigError, DataError, reason
from ppcore.io import write_json
from ppcore.model import traits
from ppcore.photo import enhance
from ppcore.photo.heat import unit_range


def class_names(
    given: str | Sequence[str] | None, fallback: Sequence[str] | None, outputs: int | None = None
) -> list[str] | None:
    """Names from a list, from a text file with one name a line, or from the dataset.

    Args:
        given: `Infer.class_names`.
        fallback: the names that the training recorded.
        outputs: of the network, as many as there must be given names.

    Raises:
        ConfigError: the file does not exist or is no text, or there are too few or too many names.
    """
    if given is None:
        return list(fallback) if fallback else None
    names = list(given)
    if isinstance(given, str):
        try:
            names = Path(given).read_text(encoding="utf-8").rstrip().splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"Infer.class_names: cannot read {given}: {reason(error)}") from None
    if outputs is not None and len(names) != outputs:
        raise ConfigError(f"Infer.class_names: {len(names)} names for a network with {outputs} outputs")
    return names


@paddle.no_grad()
def predictions(
    model: nn.Layer,
    loader: EvalLoader,
    *,
    topk: int,
    names: Sequence[str] | None,
    rollout: bool = False,
    compute: Network | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one dictionary an image of a loader.

    Args:
        model: a classifier; `attention_maps`, `grid` and `tokens_read` are needed for rollout.
        loader: the images.
        topk: how many classes to name.
        names: class names in label order.
        rollout: whether to add `attention`, float [h, w] in 0..1 over the patch grid.
        compute: gives the logits [B, K] of images [B, 3, H, W]; None is the model itself.

    Yields:
        `index` of the image in the loader's dataset, `label`, `topk` as a list of
        {class, name, probability}, and `attention` when asked for.

    Raises:
        ConfigError: the images are not of the size that the model takes.
    """
    model.eval()
    compute = compute or eager(model, InferSection())
    for batch in loader:
        check_input(model, batch["image"], "Eval")
        probability = F.softmax(paddle.to_tensor(compute(batch["image"]))).numpy()
        flows: list[Any] = [None] * len(probability)
        if rollout:
            maps = [m.numpy() for m in model.attention_maps(paddle.to_tensor(batch["image"]))]
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


def run(config: Config, weights: Pretrained | str | None = None) -> list[dict[str, Any]]:
    """What `tools/infer.py` does: classify `Infer.input`, print a line an image, write JSON.

    A network that makes images enhances them instead: `ppcore.photo.enhance.run`.

    Args:
        config: the configuration; preprocessing is `DataLoader.Eval.transforms`.
        weights: as for `ppcore.engine.trained.load_model`.

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
    log.info("%d images found", len(files))
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    model, used = load_model(config, weights)
    if traits(model).makes_images:
        if world.size > 1:
            raise ConfigError("photographs are enhanced by one process; start tools/infer.py without the launcher")
        return enhance.run(config, model, str(used), world.device)
    if wanted.rollout and not traits(model).has_attention_maps:
        raise ConfigError(f"Infer.rollout: {config.Arch['name']} has no attention maps")
    return _classify(config, model, used, files, world)


def _classify(config: Config, model: nn.Layer, used: Used, files: list[str], world: World) -> list[dict[str, Any]]:
    """Classifies files; each process its share, the main one writes what all have found."""
    wanted, part = config.Infer, build.section(config, "Eval")
    names = class_names(wanted.class_names, used.classes, traits(model).num_classes)
    images = FileImages(files, np.zeros(len(files), np.int64), None, 1)
    sampler = EvalBatchSampler(len(files), wanted.batch_size, world.rank, world.size)
    steps = build.transforms(part.transforms)
    loader = EvalLoader(images, steps, sampler, part.num_workers, wanted.unreadable)
    folder = Path(wanted.output) if wanted.output else Path(config.Global.output_dir) / "infer"
    _make(folder)
    say_float32(config.AMP, "inference")
    model.eval()
    compute = _in_turn(world, lambda: classifier(model, str(used), wanted, world.device, spare=folder.parent))
    log.info("%d images, weights %s, results in %s", len(files), used, folder)
    records, pace = [], Pace(0, len(sampler.indices))
    for found in predictions(model, loader, topk=wanted.topk, names=names, rollout=wanted.rollout, compute=compute):
        record = {"file": files[found["index"]], "topk": found["topk"]}
        if wanted.rollout:
            # The number keeps equal names apart.
            target = folder / f"{found['index']:05d}_{Path(record['file']).stem}_rollout.png"
            save_overlay(target, images.load(found["index"])["image"], steps, found["attention"])
            record["rollout"] = str(target)
        if world.size == 1:
            _show(record)
        records.append((found["index"], record))
        pace.add(world.size)
        if pace.left is not None and pace.due() and world.is_main:
            log.info(
                "%d/%d images, %.1f images/s, eta %s",
                min(pace.step * world.size, len(files)), len(files), pace.rate, clock(math.ceil(pace.left)),
            )  # fmt: skip
    shares = world.gather((records, loader.skipped, loader.skipped_messages))
    if not world.is_main:
        return [record for _, record in records]
    return _write(folder / "predictions.json", str(used), shares, show=world.size > 1)


def _write(target: Path, weights: str, shares: list[tuple], *, show: bool) -> list[dict[str, Any]]:
    """Writes what the processes have found, in the order of the files; returns the records."""
    records = [record for _, record in sorted((r for share in shares for r in share[0]), key=itemgetter(0))]
    skipped = sum(share[1] for share in shares)
    for record in records if show else ():
        _show(record)
    for message in (message for share in shares for message in share[2]):
        print(f"skipped: {message}", file=sys.stderr)
    try:
        write_json(target, {"weights": weights, "skipped": skipped, "images": records})
    except OSError as error:
        raise DataError(f"cannot write {target}: {reason(error)}") from None
    log.info("%s", json.dumps({"written": str(target), "images": len(records), "skipped": skipped}))
    return records


def _make(folder: Path) -> None:
    """The output folder, or the reason why it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Infer.output: {folder} cannot be made: {reason(error)}") from None
    if not os.access(folder, os.W_OK):
        raise DataError(f"Infer.output: {folder} cannot be written")


def _in_turn(world: World, make: Callable[[], Network]) -> Network:
    """What the main process makes first, and then the others: an export is written by one, and found by the rest."""
    made = make() if world.is_main else None
    world.barrier()
    return made or make()


def _show(record: dict[str, Any]) -> None:
    best = record["topk"][0]
    print(f"{enhance.shown(record['file'])}: {best['name'] or best['class']} {best['probability']:.4f}", flush=True)

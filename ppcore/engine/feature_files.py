"""What `tools/infer.py` does with a network without classes: the features of image files, and what it draws of them."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn
from pydantic import ValidationError

from ppcore.config import Config
from ppcore.config.explain import explain
from ppcore.config.signatures import convert, own_parameters
from ppcore.data import EvalLoader, Normalize
from ppcore.deploy.networks import Network, classifier
from ppcore.engine.answers import make_folder, shown
from ppcore.engine.attention_pictures import attention_of, picture_path, save_png, save_rollout
from ppcore.engine.classify_files import file_loader, say_skipped
from ppcore.engine.distributed import World, in_turn
from ppcore.engine.file_progress import told
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import log
from ppcore.engine.precision import say_float32
from ppcore.errors import ConfigError, DataError, nearest
from ppcore.io import write_atomically
from ppcore.model import traits
from ppcore.photo.panels import Show, rgb, side_by_side

NAME = "features.npz"
Draw = Callable[..., list[list[dict[str, Any]]]]  # of images [B, C, H, W] and their numbers the panels of each


def run(
    config: Config, model: nn.Layer, weights: str, files: list[str], steps: list[Any], folder: Path, world: World
) -> list[dict[str, Any]]:
    """Writes `features.npz` (`features` float32 [N, D], `paths` [N], of the images that could be read, in their order) and a
    picture of each image where the network draws some; each process does its share.

    Args:
        config: the configuration.
        model: without classes, with its weights.
        weights: the file they came from.
        files: the images.
        steps: what prepares them.
        folder: to write to; made.
        world: the processes.

    Returns:
        The records, one an image that could be read, in a process that is not the main one its own: `file`, and the paths of its
        `picture` and `rollout` where there are some.

    Raises:
        ConfigError, DataError: `Infer` asks for what the network has not, unreadable images under `raise`, none that is readable,
            or a folder that cannot be written.
    """
    wanted = config.Infer
    wanted.refuse_class_keys(config.Arch["name"])
    draw = _drawing(model, config, steps)
    make_folder(folder)
    loader = file_loader(files, steps, wanted, world.rank, world.size)
    say_float32(config.AMP, "inference")
    model.eval()
    home = Path(config.Global.output_dir)
    compute = in_turn(world, lambda: classifier(model, wanted, world.device, home, len(files)))
    log.info("%d images, weights %s, results in %s", len(files), weights, folder)
    attention = attention_of(model) if wanted.rollout else None
    found = _found(loader, compute, draw, attention, lambda images: check_input(model, images, "Eval"))
    records = []
    for one in told(found, len(loader.stream.indices), len(files), world.size, world.is_main):
        number = one["index"]
        record = {"file": files[number]}
        if draw is not None:
            target = picture_path(folder, files, number)
            save_png(target, side_by_side([(panel["image"], panel["caption"]) for panel in one["panels"]]))
            record["picture"] = str(target)
        if attention is not None:
            record["rollout"] = save_rollout(folder, files, number, steps, one["attention"])
        records.append((number, record, one["features"]))
    shares = world.gather((records, loader.skipped, loader.skipped_messages))
    return _write(folder / NAME, shares) if world.is_main else [record for _, record, _ in records]


def _found(
    loader: EvalLoader, compute: Network, draw: Draw | None, attention: Any, check: Callable[[np.ndarray], None]
) -> Iterator[dict[str, Any]]:
    """Yields for each image its `index`, `features` [D], and its `panels` and `attention` where they are asked for."""
    for batch in loader:
        images, numbers = batch["image"], batch["index"].tolist()
        check(images)
        features = compute(images).reshape(len(images), -1)
        with paddle.no_grad():
            panels = draw(paddle.to_tensor(images), numbers=numbers) if draw else [None] * len(images)
        flows = attention(images) if attention else [None] * len(images)
        for number, row, drawn, flow in zip(numbers, features, panels, flows, strict=True):
            yield {"index": number, "features": row, "panels": drawn, "attention": flow}


def _drawing(model: nn.Layer, config: Config, steps: Sequence[Any]) -> Draw | None:
    """What draws the pictures that `Infer.pictures` asks for, in the images' own colours; None where none are drawn.

    Raises:
        ConfigError: the network draws none, or takes no such argument.
    """
    draw, wanted, name = traits(model).pictures, config.Infer.pictures, config.Arch["name"]
    if wanted is False or (draw is None and wanted is None):
        return None
    if draw is None:
        raise ConfigError(f"Infer.pictures: {name} draws none; leave it out")
    options = {} if wanted in (None, True) else dict(wanted)
    known = {key: p for key, p in own_parameters(draw).items() if key not in ("x", "numbers", "show")}
    for key, value in options.items():
        if key not in known:
            raise ConfigError(
                f"Infer.pictures.{key}: the pictures of {name} have no argument '{key}'{nearest(key, known)}"
            )
        try:
            convert(value, known[key].annotation)
        except ValidationError as error:
            raise ConfigError(explain(error, value, known[key].annotation, f"Infer.pictures.{key}")[0]) from None
    return partial(draw, show=_own_colours(steps), **options)


def _own_colours(steps: Sequence[Any]) -> Show | None:
    """Draws a prepared image with the colours it had before; None where no Normalize says which."""
    normalize = [step for step in steps if isinstance(step, Normalize)]
    return (lambda image: rgb(normalize[0].undo(image))) if len(normalize) == 1 else None


def _write(target: Path, shares: Sequence[tuple]) -> list[dict[str, Any]]:
    """Writes what the processes have found, in the order of the files; returns the records."""
    found = sorted((one for share in shares for one in share[0]), key=lambda one: one[0])
    say_skipped([message for share in shares for message in share[2]])
    if not found:
        raise DataError("no image could be read, so there are no features; the reasons are above")
    records, rows = [record for _, record, _ in found], np.stack([row for *_, row in found])
    arrays = {"features": rows.astype(np.float32), "paths": np.array([record["file"] for record in records])}

    def save(temp: Path) -> None:
        with temp.open("wb") as file:  # to a name, numpy would add a suffix
            np.savez(file, **arrays)

    write_atomically(target, save)
    for record in records:
        if drawn := [record[key] for key in ("picture", "rollout") if key in record]:
            print(f"{shown(record['file'])} -> {', '.join(map(shown, drawn))}", flush=True)
    facts = {"features": list(rows.shape), "skipped": sum(share[1] for share in shares)}
    log.info("%s", json.dumps({"written": str(target), **facts}))
    return records

"""What `tools/infer.py` does with a configuration: classify files, or take their features (`feature_files`), or enhance
photographs (`enhance_files`)."""

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import paddle.nn as nn

from ppcore.config import Config, Pretrained
from ppcore.data import Grayscale, find_images
from ppcore.deploy.networks import classifier
from ppcore.engine import build, classify_files, distributed, enhance_files, feature_files
from ppcore.engine.answers import Answers
from ppcore.engine.attention_pictures import attention_of, save_rollout
from ppcore.engine.distributed import World, in_turn
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import log, setup_logging
from ppcore.engine.precision import say_float32
from ppcore.engine.trained import Used, load_model
from ppcore.errors import ConfigError
from ppcore.model import traits


def run(config: Config, weights: Pretrained | str | None = None) -> list[dict[str, Any]]:
    """Classifies `Infer.input`, prints a line an image, writes JSON, JSON lines or CSV.

    A network that makes images enhances them instead (`ppcore.engine.enhance_files.run`), one without classes writes features
    (`ppcore.engine.feature_files.run`).

    Args:
        config: the configuration; preprocessing is `DataLoader.Eval.transforms`.
        weights: as for `ppcore.engine.trained.load_model`.

    Returns:
        The records written to the file, one an image that could be read.

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
        return enhance_files.run(config, model, str(used), world.device)
    if wanted.rollout and not traits(model).has_rollout:
        raise ConfigError(f"Infer.rollout: {config.Arch['name']} has no attention rollout")
    steps = build.transforms(build.section(config, "Eval").transforms)
    if traits(model).in_chans == 1:
        steps = [Grayscale(), *steps]
    folder = Path(wanted.output) if wanted.output else Path(config.Global.output_dir) / "infer"
    if build.has_no_classes(model, config):
        return feature_files.run(config, model, str(used), files, steps, folder, world)
    return _classify(config, model, used, files, steps, folder, world)


def _classify(
    config: Config, model: nn.Layer, used: Used, files: list[str], steps: list[Any], folder: Path, world: World
) -> list[dict[str, Any]]:
    """Classifies files; each process its share, the main one writes what all have found."""
    wanted = config.Infer
    if wanted.pictures:
        raise ConfigError(f"Infer.pictures: {config.Arch['name']} is a classifier; Infer.rollout draws its attention")
    names = classify_files.class_names(wanted.class_names, used.classes, traits(model).num_classes)
    loader = classify_files.file_loader(files, steps, wanted, world.rank, world.size)
    answers = Answers(folder, wanted.format, says=world.size == 1)
    say_float32(config.AMP, "inference")
    model.eval()
    compute = in_turn(
        world,
        lambda: classifier(model, wanted, world.device, Path(config.Global.output_dir), len(files)),
    )
    log.info("%d images, weights %s, results in %s", len(files), used, folder)
    found = classify_files.predictions(
        loader, compute, topk=wanted.topk, names=names, check=lambda images: check_input(model, images, "Eval"),
        attention=attention_of(model) if wanted.rollout else None,
    )  # fmt: skip

    def picture(one: dict[str, Any]) -> str:
        return save_rollout(folder, files, one["index"], steps, one["attention"])

    records = classify_files.classify_files(
        files, loader, found, answers, picture=picture if wanted.rollout else None, size=world.size,
        speaks=world.is_main,
    )  # fmt: skip
    shares = world.gather((records, loader.skipped, loader.skipped_messages))
    if not world.is_main:
        return [record for _, record in records]
    return _write(answers, str(used), shares, show=world.size > 1)


def _write(answers: Answers, weights: str, shares: list[tuple], *, show: bool) -> list[dict[str, Any]]:
    """Writes what the processes have found, in the order of the files; returns the records."""
    records = [record for _, record in sorted((r for share in shares for r in share[0]), key=itemgetter(0))]
    skipped = sum(share[1] for share in shares)
    answers.says = show
    for record in records if show else ():
        answers.add(record)
    classify_files.say_skipped([message for share in shares for message in share[2]])
    answers.write(records, weights=weights, skipped=skipped)
    log.info("%s", json.dumps({"written": str(answers.path), "images": len(records), "skipped": skipped}))
    return records

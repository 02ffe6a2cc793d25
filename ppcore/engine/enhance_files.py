"""What `tools/infer.py` does with a network that makes images: files, folders and globs, one photograph at a time."""

import json
import logging
import math
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppcore.config import Config, InferSection
from ppcore.engine.answers import shown
from ppcore.errors import ConfigError, DataError
from ppcore.io import sha256
from ppcore.model import traits
from ppcore.photo.enhance import enhance
from ppcore.photo.output_paths import RECORD, Job, plan, protect
from ppcore.photo.photo_form import AS_IT_IS, PhotoForm, form_of
from ppcore.photo.photo_io import encode_photograph, read_photograph, write_file
from ppcore.photo.photograph import Photograph

if TYPE_CHECKING:
    from paddle import nn

    from ppcore.deploy.networks import Network

log = logging.getLogger("ppcore")


def run(config: Config, model: "nn.Layer", weights: str, device: str) -> list[dict[str, Any]]:
    """What `tools/infer.py` does with a network that makes images: enhance the photographs of `Infer.input`.

    Each result has its photograph's name, format, bit depth, orientation, profile and alpha, and its size, or that times the scale.
    The network sees the full bit depth as RGB, or Y, in [0, 1]; its result is clamped and rounded to that depth.

    Args:
        config: the configuration.
        model: with its weights.
        weights: the file they came from.
        device: `cpu` or `gpu`.

    Returns:
        One record an enhanced photograph, as in `enhanced.jsonl` of the output folder; height and width are the result's.

    Raises:
        ConfigError, DataError: nothing to do, a scale that the network does not have, a result would replace a file that is not ours, an unreadable
            photograph under `raise`, none that is readable, or a folder that cannot be written.
    """
    from ppcore.deploy.networks import network  # here: an exported folder is run without Paddle

    wanted, folder = config.Infer, Path(config.Global.output_dir)
    if not traits(model).makes_images:
        raise ConfigError(f"Arch: {config.Arch['name']} makes no images; there is nothing to enhance with it")
    about = traits(model)
    form = form_of(
        config.Arch["name"], channels=about.in_chans, scale=about.scale, enlarged_first=about.enlarged_first,
        wanted=wanted.scale, key="Infer.scale",
    )  # fmt: skip
    output = Path(wanted.output) if wanted.output else folder / "infer"
    jobs = plan(wanted.input, output)
    log.info("%d photographs to enhance", len(jobs))
    model.eval()
    _refuse_copying(model, config, form)
    compute = network(model, wanted, device, folder, result_sizes(jobs, form))
    return enhance_files(compute, jobs, output, wanted, weights, form)


def result_sizes(jobs: list[Job], form: PhotoForm) -> list[tuple[int, int]]:
    """(height, width) of the results, as far as headers say."""
    return [form.size(job.height, job.width) for job in jobs if job.pixels]


def _refuse_copying(model: "nn.Layer", config: Config, form: PhotoForm) -> None:
    """Raises ConfigError for a method that gives back what it is given: its results would be copies."""
    if traits(model).needs_weights or form.scale != 1:
        return  # a network is not tried out: it takes its time, and what it does is its training's matter
    x = np.random.default_rng(0).random((1, 3, 24, 24), np.float32) * np.float32(0.3)  # as dark as what it is for
    from ppcore.deploy.networks import eager

    if np.array_equal(eager(model, InferSection())(x), x):
        others = [node["name"] for node in config.Baselines if node["name"] != config.Arch["name"]]
        raise ConfigError(
            f"Arch: {config.Arch['name']} leaves every pixel as it is and would only copy the photographs: choose a "
            f"network or another method{f', such as -o Arch.name={others[-1]}' if others else ''}"
        )


def enhance_files(
    compute: "Network", jobs: list[Job], output: Path, wanted: InferSection, weights: str, form: PhotoForm = AS_IT_IS
) -> list[dict[str, Any]]:
    """Enhances planned photographs; see `run`."""
    _append(output, "")  # a folder that cannot be written is found out before the first minute of work
    records, begin, left = [], time.monotonic(), sum(job.pixels for job in jobs)
    done = 0
    log.info("%d photographs, weights %s, results in %s", len(jobs), weights, output)
    for number, job in enumerate(jobs, 1):
        name = shown(job.source)
        started = time.monotonic()
        try:
            photo = read_photograph(job.source)
            result = enhance(compute, photo, str(job.source), form)
        except DataError as error:
            if wanted.unreadable == "raise":
                raise
            print(f"skipped: {shown(error)}", file=sys.stderr, flush=True)
            left -= job.pixels
            continue
        height, width = result.pixels.shape[:2]
        record = {
            "file": str(job.source), "output": str(job.target.relative_to(output)), "height": height, "width": width,
            "bits": photo.bits, "weights": weights, "notes": photo.notes, "seconds": time.monotonic() - started,
        }  # fmt: skip
        _write(result, job, output, wanted.quality, record)
        records.append(record)
        done, left = done + photo.pixels[..., 0].size, left - job.pixels
        rate = done / (time.monotonic() - begin)
        notes = "".join(f"; {note}" for note in photo.notes)
        print(f"{name} -> {shown(job.target)}{notes}", flush=True)
        log.info(
            "%d/%d %dx%d %d bit, %.1f s, %.2f Mpixel/s%s",
            number, len(jobs), width, height, photo.bits, record["seconds"], rate * form.scale**2 / 1e6,
            f", eta {timedelta(seconds=math.ceil(left / rate))}" if left else "",
        )  # fmt: skip
    if not records:
        raise DataError(f"none of {len(jobs)} photographs could be enhanced; the reasons are above")
    log.info("%s", json.dumps({"written": len(records), "skipped": len(jobs) - len(records), "folder": str(output)}))
    return records


def _write(photo: Photograph, job: Job, output: Path, quality: int, record: dict[str, Any]) -> None:
    """Writes a result. The record comes first: a kill between the two must not make our own file a stranger."""
    data = encode_photograph(photo, quality)
    record["sha256"] = sha256(data)
    protect([job], output)  # something may have come in the way since the plan was made
    _append(output, json.dumps(record) + "\n")
    write_file(job.target, data)


def _append(output: Path, line: str) -> None:
    """Adds to the record of the output folder; makes both."""
    path = output / RECORD
    try:
        output.mkdir(parents=True, exist_ok=True)
        cut = path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * cut + line)  # a killed run's last line is not continued
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from None

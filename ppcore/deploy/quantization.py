"""int8 forms of exported classifiers: nncf's post-training quantisation, calibrated on images that the user names.

    quantize(folder, "images/**/*.jpg")
    Predictor(folder, precision="int8")

Needs nncf (extra `deploy`), and neither Paddle nor a configuration.
"""

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import accumulate, cycle, pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ppcore.data import find_images
from ppcore.deploy import manifest
from ppcore.deploy.manifest import INT8_SUFFIX, Manifest
from ppcore.deploy.predictor import Predictor
from ppcore.deploy.preprocessing import Preprocessing
from ppcore.errors import ConfigError, DataError, OutputError, reason

log = logging.getLogger("ppcore")

LEAST = 16  # images to calibrate on and compare with
POOR = 0.99  # top-1 agreement with fp32 below which the log warns
# Images a call when the two are compared, in turn: OpenVINO 2026.4 computed one int8 form the wronger the larger the batch.
BATCHES = (8, 64)

Images = str | os.PathLike | Sequence[str | os.PathLike | np.ndarray]


def quantize(
    folder: str | os.PathLike, images: Images, *, count: int = 300, compared: int = 1000, engine: str = "auto"
) -> dict[str, Any]:
    """Writes an int8 form of an exported classifier beside its other files, and into the manifest how well it agrees.

    Weights are rounded channel by channel, activations to ranges seen on the images. These are shuffled (always alike);
    the first calibrate, at most three quarters of all, and the following, which do not, are classified by the
    int8 form and by the export in fp32. An earlier int8 form is replaced.

    Args:
        folder: written by `ppcore.deploy.export_model`, with ONNX.
        images: a folder, a glob, or a list of files and arrays (uint8 [H, W, 3] RGB): prepared as the manifest says.
            Arrays that are prepared already are float32 [C, H, W].
        count: how many calibrate.
        compared: how many at most are compared.
        engine: that compares, as `Predictor`'s.

    Returns:
        What the manifest's `int8` now holds: `top1_agreement` (share of the images), `max_difference` and
        `mean_difference` of logits (absolute), `relative` (the largest over the largest absolute logit), how many `images` these are of, which (`source`,
        sha256 of the inputs), and how it was made.

    Raises:
        ConfigError: no ONNX in the export, more than one stage (there is no int8 of these), nncf is not installed, or the int8 form
            gives numbers that are not finite.
        DataError: fewer than 16 images, or an image that cannot be read.
        WeightsError: the folder holds no export, or a file is damaged.
    """
    folder = Path(folder)
    content = manifest.read(folder)
    _check(content)
    if count < 1 or compared < 1:
        raise ConfigError(f"int8: count {count} and compared {compared} must be at least 1")
    chosen, source = _chosen(images, count, compared)
    calibrating = min(count, len(chosen) * 3 // 4)
    prepare = _preparation(content, chosen)
    inputs = [prepare(image) for image in chosen]
    manifest.check(folder, content, (".onnx",))
    log.info("int8: calibrating on %d images of %s", calibrating, source)
    try:
        temp = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {reason(error)}") from error
    try:
        found = _write(folder, temp, content, inputs, calibrating, engine)
        found |= {"source": source, "calibration_images": calibrating}
        stage = content.stages[0].name
        os.replace(temp / f"{stage}{INT8_SUFFIX}", folder / f"{stage}{INT8_SUFFIX}")
        manifest.write(folder, replace(content, int8=found, files=manifest.files(folder, content.files)))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    say = log.info if found["top1_agreement"] >= POOR else log.warning
    say(
        "int8 agrees with fp32 on the first class of %.2f %% of %d images (max |difference| of logits %.2g, %.1e of the largest; %s)",
        100 * found["top1_agreement"], found["images"], found["max_difference"], found["relative"], found["engine"],
    )  # fmt: skip
    return found


def _check(content: Manifest) -> None:
    if content.padding is not None or len(content.stages) != 1:
        raise ConfigError(
            f"int8: {content.arch} makes images or has several stages; int8 is for classifiers of one stage"
        )
    check_int8(content.formats)


def check_int8(formats: Sequence[str]) -> None:
    """Raises ConfigError where an export of these formats, or this installation, allows no int8 form."""
    if "onnx" not in formats:
        raise ConfigError(f"int8 is made from the format onnx, not from {', '.join(formats)}: export that, too")
    for package in ("nncf", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"int8 needs {package}; install the extra 'deploy'")


def _chosen(images: Images, count: int, compared: int) -> tuple[list[Any], str]:
    """The images in the order of their use, and what to call where they come from."""
    if isinstance(images, str | os.PathLike):
        everything, source = find_images(os.fspath(images)), os.fspath(images)
    else:
        everything, source = list(images), f"{len(images)} images given one by one"
    if len(everything) < LEAST:
        raise DataError(f"int8: {source}: {len(everything)} images; calibrating and comparing take at least {LEAST}")
    order = np.random.default_rng(0).permutation(len(everything))
    return [everything[i] for i in order[: count + compared]], source


def _preparation(content: Manifest, chosen: list[Any]) -> Any:
    """What makes an input [C, H, W] of an image."""
    wanted = content.stages[0].inputs["x"][1:]

    def checked(image: Any) -> np.ndarray:
        raw = isinstance(image, np.ndarray) and image.dtype == np.float32
        x = image if raw else steps(image)
        if x.ndim != 3 or any(size is not None and size != given for size, given in zip(wanted, x.shape, strict=True)):
            form = [size or "any" for size in wanted]
            raise DataError(f"int8: {content.arch} takes {form}, and an image gives {list(x.shape)}")
        return np.ascontiguousarray(x)

    prepared = all(isinstance(image, np.ndarray) and image.dtype == np.float32 for image in chosen)
    steps = None if prepared else Preprocessing.of(content)
    return checked


def _write(
    folder: Path, temp: Path, content: Manifest, inputs: list[np.ndarray], calibrating: int, engine: str
) -> dict[str, Any]:
    """Writes the int8 graph into `temp` and compares it with fp32."""
    from ppcore.deploy.int8_graph import quantised_graph  # imports nncf, which is looked for before

    (stage,) = content.stages
    settings = quantised_graph(folder / f"{stage.name}.onnx", temp / f"{stage.name}{INT8_SUFFIX}", inputs[:calibrating])
    # A folder of its own to be run in: what is there already stays as it is until this one is known to work.
    manifest.write(temp, replace(content, int8={}, files=manifest.files(temp)))
    predictor = Predictor(temp, engine, "int8", quiet=True)
    reference = Predictor(folder, predictor.engine, quiet=True)
    rest = inputs[calibrating:]
    ends = takewhile(lambda end: end < len(rest), accumulate(cycle(BATCHES)))
    parts = [slice(start, end) for start, end in pairwise([0, *ends, len(rest)])]
    found, wanted = (np.concatenate([run(np.stack(rest[part])) for part in parts]) for run in (predictor, reference))
    if not np.isfinite(found).all():
        raise ConfigError(f"int8: {predictor.runs_on} gives numbers that are not finite; nothing was written")
    difference = np.abs(found - wanted)
    return {
        "top1_agreement": float((found.argmax(1) == wanted.argmax(1)).mean()),
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "relative": float(difference.max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny)),
        "images": len(rest),
        "images_sha256": _sha256(rest),
        "calibration_sha256": _sha256(inputs[:calibrating]),
        "engine": predictor.runs_on,
        "nncf": version("nncf"),
        "settings": settings,
    }


def _sha256(arrays: Sequence[np.ndarray]) -> str:
    """Of their bytes, one after another; without a copy of all of them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()

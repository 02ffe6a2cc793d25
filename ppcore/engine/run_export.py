"""What `tools/infer.py --export` does: run an exported folder on image files, without Paddle and without a configuration."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ppcore.config import InferSection
from ppcore.data import find_images
from ppcore.deploy import engine_choice, manifest
from ppcore.deploy.by_size import BySize
from ppcore.deploy.engine_choice import chosen_by_size
from ppcore.deploy.fixed_batch import FixedBatch
from ppcore.deploy.predictor import Predictor
from ppcore.deploy.preprocessing import Preprocessing
from ppcore.engine import classify_files, enhance_files
from ppcore.engine.answers import Answers
from ppcore.engine.logger import log, setup_logging
from ppcore.errors import ConfigError
from ppcore.photo.output_paths import plan


def run(folder: Path, wanted: InferSection) -> list[dict[str, Any]]:
    """Classifies or enhances `wanted.input` with an export.

    Args:
        folder: written by `tools/export_model.py`.
        wanted: as the section `Infer`; results go to `infer` where no output is named.

    Returns:
        The records, as of `ppcore.engine.predict.run`.

    Raises:
        ConfigError, DataError, WeightsError: no export, nothing to do, or something that the export does not do.
    """
    setup_logging()
    content = manifest.read(folder)
    if wanted.input is None:
        raise ConfigError("no images: name files, folders or globs after the options")
    if wanted.engine == "eager" or wanted.rollout:
        raise ConfigError("an export runs without Paddle: Infer.engine=eager and Infer.rollout need -c and the weights")
    output = Path(wanted.output or "infer")
    if content.padding is not None:
        return _enhance(folder, content, wanted, output)
    return _classify(folder, content, wanted, output)


def _classify(folder: Path, content: manifest.Manifest, wanted: InferSection, output: Path) -> list[dict[str, Any]]:
    wanted.refuse_image_keys(content.arch)
    files = find_images(wanted.input)
    preprocessing = Preprocessing.of(content)
    predictor = Predictor(folder, wanted.engine, wanted.precision)
    names = classify_files.class_names(wanted.class_names, content.model.classes)
    answers = Answers(output, wanted.format)
    loader = classify_files.file_loader(files, preprocessing.transforms, wanted)
    log.info("%d images, export %s, results in %s", len(files), folder, output)
    run_on = FixedBatch(predictor) if predictor.engine == "openvino" else predictor

    def compute(images: np.ndarray) -> np.ndarray:
        logits = run_on(images)
        if wanted.class_names is not None:  # the manifest does not say how many outputs there are
            classify_files.check_number(names, logits.shape[1])
        return logits

    found = classify_files.predictions(loader, compute, topk=wanted.topk, names=names)
    records = [record for _, record in classify_files.classify_files(files, loader, found, answers)]
    classify_files.say_skipped(loader.skipped_messages)
    answers.write(records, weights=str(folder), skipped=loader.skipped)
    log.info("%s", json.dumps({"written": str(answers.path), "images": len(records), "skipped": loader.skipped}))
    return records


def _enhance(folder: Path, content: manifest.Manifest, wanted: InferSection, output: Path) -> list[dict[str, Any]]:
    form = content.photo_form(wanted.scale, "Infer.scale")
    jobs = plan(wanted.input, output)
    sizes = enhance_files.result_sizes(jobs, form)
    if wanted.engine == "auto" and "onnx" in content.formats and chosen_by_size(wanted.precision, writer=False):
        return enhance_files.enhance_files(BySize(folder, wanted.tile, sizes), jobs, output, wanted, str(folder), form)
    compute = Predictor(folder, wanted.engine, wanted.precision, tile=wanted.tile)
    if wanted.engine == "auto" and compute.engine == "openvino":
        log.info("Infer.engine=auto: openvino, %s", engine_choice.compilations(sizes))
    return enhance_files.enhance_files(compute, jobs, output, wanted, str(folder), form)

"""Exporting a model for inference: Paddle Inference and ONNX files with a manifest, run by `ppcore.deploy.predictor`."""

import dataclasses
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paddle.nn as nn

import ppcore
from ppcore.deploy import manifest
from ppcore.deploy.agreement import agreement
from ppcore.deploy.export_spec import ExportSpec, Stage, spec_of
from ppcore.deploy.in_graph import stage_of
from ppcore.deploy.model_facts import ModelFacts
from ppcore.deploy.replacing import check_replaceable, replacing
from ppcore.deploy.writers import check_formats, write_onnx, write_paddle
from ppcore.errors import ConfigError, PPError, reason


def export_model(
    model: nn.Layer,
    folder: str | os.PathLike,
    formats: Sequence[str] = ("paddle", "onnx"),
    facts: ModelFacts | None = None,
    *,
    in_graph: bool = False,
) -> Path:
    """Writes a model's inference files and manifest.json (what it is, how to run it, sha256 of every file).

    The model is put into evaluation mode. A model with `export_spec()` is exported in that form
    (`ppcore.deploy.export_spec`), any other as it is. Every format is run and compared with the model. Files appear
    all at once, or not at all.

    Args:
        model: with its weights.
        folder: to write; it may hold an earlier export, which is replaced when the new one is whole, and nothing else.
        formats: `paddle` and `onnx`.
        facts: what goes into the manifest beside: preprocessing, class names, where the weights come from.
        in_graph: whether to write a graph of a classifier, too, that takes bytes and gives probabilities (`uint8.*`).

    Returns:
        The folder.

    Raises:
        ConfigError: an unknown format, one whose writer is not installed, a folder with other files, a
            model that cannot be exported, or an export that computes something else than the model.
        OutputError: the folder's card has been edited.
    """
    folder, formats = Path(folder), tuple(formats)
    check_formats(formats)
    check_replaceable(folder)
    spec, facts = spec_of(model), facts or ModelFacts()
    beside = stage_of(spec, facts.preprocessing) if in_graph else None
    with replacing(folder) as temp:
        write_export(model, spec, temp, formats, facts, beside)
    return folder


def write_export(
    model: nn.Layer,
    spec: ExportSpec,
    folder: Path,
    formats: tuple[str, ...],
    facts: ModelFacts,
    beside: Stage | None = None,
) -> None:
    """Writes the graphs into an empty folder, compares them with the model, and writes the manifest.

    Raises:
        ConfigError: the network cannot be written, or an engine not run what was, or it computes something else.
    """
    arch = type(model).__name__
    try:
        with _quiet():
            for stage in (*spec.stages, *([beside] if beside else ())):
                write_paddle(stage, folder)
                if "onnx" in formats:
                    write_onnx(stage, folder)
        if "paddle" not in formats:
            for path in folder.iterdir():
                if path.suffix != ".onnx":
                    path.unlink()
        content = manifest.make(folder, spec, arch, ppcore.__version__, formats, facts, beside)
        manifest.write(folder, content)
        manifest.write(folder, dataclasses.replace(content, agreement=agreement(model, spec, folder, content, beside)))
    except (PPError, OSError):
        raise
    except Exception as error:  # whatever Paddle, Paddle2ONNX and the engines raise of a network that is not for them
        raise ConfigError(
            f"export: {arch} cannot be exported ({reason(error)[:300]}); the network itself computes with Infer.engine=eager"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Paddle2ONNX's and Paddle's C++ parts print (they write to the descriptors)."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
        logging.disable(level)

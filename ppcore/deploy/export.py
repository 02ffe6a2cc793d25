"""Exporting a model for inference: Paddle Inference and ONNX files with a manifest, run by `ppcore.deploy.predictor`."""

import dataclasses
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paddle
import paddle.nn as nn

import ppcore
from ppcore.deploy import manifest
from ppcore.deploy.agreement import agreement
from ppcore.deploy.code import reachable
from ppcore.deploy.export_spec import ExportSpec, Stage, spec_of
from ppcore.deploy.in_graph import stage_of
from ppcore.deploy.model_facts import ModelFacts
from ppcore.deploy.writers import check_formats, write_onnx, write_paddle
from ppcore.errors import ConfigError, WeightsError, reason

log = logging.getLogger("ppcore")


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
        folder: to write; it may hold an earlier export, which is replaced, and nothing else.
        formats: `paddle` and `onnx`.
        facts: what goes into the manifest beside: preprocessing, class names, where the weights come from.
        in_graph: whether to write a graph of a classifier, too, that takes bytes and gives probabilities (`uint8.*`).

    Returns:
        The folder.

    Raises:
        ConfigError: an unknown format, one whose writer is not installed, a folder with other files, a
            model that cannot be exported, or an export that computes something else than the model.
    """
    folder, formats = Path(folder), tuple(formats)
    check_formats(formats)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give the folder to export to")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / manifest.NAME).is_file():
        raise ConfigError(f"{folder}: holds files that are no export; give an empty or a new folder")
    spec, facts = spec_of(model), facts or ModelFacts()
    beside = stage_of(spec, facts.preprocessing) if in_graph else None
    _write(model, spec, folder, formats, facts, beside=beside)
    return folder


def cached_export(model: nn.Layer, within: str | os.PathLike, formats: Sequence[str] = ("onnx",)) -> Path:
    """The export of a model, written once for these weights, this architecture and this version of the suite.

    Args:
        model: with its weights.
        within: the folder in which `exported/<hash>` is kept; made.
        formats: as `export_model`.

    Returns:
        The folder with the export.

    Raises:
        ConfigError: as `export_model`.
    """
    formats = tuple(formats)
    check_formats(formats)
    spec = spec_of(model)
    name = fingerprint(spec, formats)
    folder = Path(within) / "exported" / name
    if folder.is_dir():
        try:
            manifest.check(folder, manifest.read(folder))
            return folder
        except WeightsError as error:
            log.warning("%s", error)
            shutil.rmtree(folder, ignore_errors=True)
    log.info("exporting the network to %s (once)", folder)
    _write(model, spec, folder, formats, ModelFacts(), replace=False)
    return folder


def fingerprint(spec: ExportSpec, formats: Sequence[str]) -> str:
    """A hash of all that decides what is exported: weights, layers and their settings, code, formats, Paddle.

    The code is that of the layers' modules and of all they import from their packages, functions included.
    """
    versions = (ppcore.__version__, manifest.VERSION, paddle.__version__)
    digest = hashlib.sha256(repr((versions, sorted(formats))).encode())
    digest.update(repr((spec.padding, spec.tiles, spec.bf16, spec.onednn)).encode())
    modules = {"ppcore.deploy.writers"}
    for stage in spec.stages:
        digest.update(repr((stage.name, dict(stage.inputs), stage.outputs)).encode())
        for name, layer in stage.layer.named_sublayers(include_self=True):
            kind = type(layer)
            modules.add(kind.__module__)
            settings = sorted((key, value) for key, value in vars(layer).items() if _is_setting(key, value))
            digest.update(repr((name, kind.__qualname__, settings)).encode())
        for name, value in stage.layer.state_dict().items():
            array = value.numpy()
            digest.update(repr((name, array.shape, str(array.dtype))).encode())
            digest.update(array.tobytes())
    modules = {module for module in modules if not module.startswith("paddle.")}
    for name, path in reachable(modules).items():
        digest.update(repr((name, path.read_bytes())).encode())
    return digest.hexdigest()[:24]


def _is_setting(key: str, value: object) -> bool:
    """Whether a layer's attribute says what it computes (its unique name and its mode do not)."""
    if isinstance(value, tuple | list):
        return all(_is_setting(key, item) for item in value)
    named = key.endswith("_name") or key in ("training", "_name")
    return not named and (value is None or isinstance(value, bool | int | float | str))


def _write(
    model: nn.Layer,
    spec: ExportSpec,
    folder: Path,
    formats: tuple[str, ...],
    facts: ModelFacts,
    *,
    beside: Stage | None = None,
    replace: bool = True,
) -> None:
    """Writes an export; where it is not to `replace` one, that of another process which was faster stays."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {reason(error)}") from error
    try:
        _write_files(model, spec, temp, formats, facts, beside)
        temp.chmod(0o755)
        if replace and folder.is_dir():
            shutil.rmtree(folder)
        try:
            temp.rename(folder)
        except OSError:
            if replace or not folder.is_dir():
                raise
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _write_files(
    model: nn.Layer,
    spec: ExportSpec,
    folder: Path,
    formats: tuple[str, ...],
    facts: ModelFacts,
    beside: Stage | None,
) -> None:
    """Writes the graphs, compares them with the model, and writes the manifest."""
    with _quiet():
        for stage in (*spec.stages, *([beside] if beside else ())):
            write_paddle(stage, folder)
            if "onnx" in formats:
                write_onnx(stage, folder)
    if "paddle" not in formats:
        for path in folder.iterdir():
            if path.suffix != ".onnx":
                path.unlink()
    content = manifest.make(folder, spec, type(model).__name__, ppcore.__version__, formats, facts, beside)
    manifest.write(folder, content)
    manifest.write(folder, dataclasses.replace(content, agreement=agreement(model, spec, folder, content, beside)))


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

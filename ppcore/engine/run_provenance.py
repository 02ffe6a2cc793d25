"""Where the weights in use come from, by the records of their run: for model cards, manifests and weight files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import paddle.nn as nn

import ppcore
from ppcore.config import Config, Pretrained, components, roles
from ppcore.engine import records
from ppcore.engine.run_folder import node_text, saved_config
from ppcore.engine.trained import Used
from ppcore.errors import PPError, reason
from ppcore.io import write_json
from ppcore.model import parameter_count, traits
from ppcore.weights.checkpoints import NAMES, WEIGHTS, find_weights, read_state
from ppcore.weights.conversion import CHANGES
from ppcore.weights.provenance import Provenance, of_file, start_from

START = "started_from.json"
# What env.json says that a reader of a card wants to know.
_ENVIRONMENT = ("command", "config", "git_sha", "git_dirty", "ppcore", "paddle", "device", "world_size", "date")


def provenance(config: Config, used: Used, *, model: nn.Layer | None = None) -> Provenance:
    """What is known of the weights in use.

    Args:
        config: the configuration that names them; `Export.licence` and `Export.origin` are its say, before the file's.
        used: the weights, as `ppcore.engine.trained.load_model` returns them.
        model: the network they are in, to count its parameters.

    Raises:
        PPError: the run that they belong to has damaged records.
    """
    part = config.DataLoader.Eval
    found = Provenance(
        architecture=json_of(config.Arch),
        task=None if model is None else _task(model),
        parameters=None if model is None else parameter_count(model),
        classes=used.classes,
        preprocessing=None if part is None else _steps(part.transforms),
        config=config.to_yaml(),
        suite=ppcore.__version__,
    )
    if used.file is not None:
        own, folder = of_file(used.file), run_of(used.file)
        keys = ("file", "sha256", "layout", "licence", "origin", "started_from")
        found = replace(found, **{key: value for key, value in asdict(own).items() if key in keys})
        if folder is not None:
            found = _of_run(found, used.file, folder)
    stated = {"licence": config.Export.licence, "origin": config.Export.origin}
    found = replace(found, **{key: value for key, value in stated.items() if value is not None})
    return found.changed([note for note in used.notes if note.startswith(CHANGES)])


def _task(model: nn.Layer) -> str | None:
    """What a network is for, as Hugging Face calls it."""
    own = traits(model)
    return "image-to-image" if own.makes_images else "image-classification" if own.num_classes else None


def run_of(file: Path) -> Path | None:
    """The folder of the run whose checkpoint a weight file is part of; None where its records are not there (a copied checkpoint)."""
    step = file.absolute().parent
    folder = step.parents[1]
    inside = step.parent.name == "checkpoints" and (step / "state.json").is_file()
    return folder if inside and all((folder / name).is_file() for name in (records.NAME, "config.yaml")) else None


def record_start(config: Config, folder: Path) -> None:
    """Writes what a run starts from into its folder: licence and origin are carried along from there.

    Raises:
        CheckpointError, OutputError: the weights are not there, the folder cannot be written.
    """
    if config.Global.pretrained is None:
        (folder / START).unlink(missing_ok=True)  # of a run that ended before its first checkpoint
    else:
        write_json(folder / START, asdict(_start(config.Global.pretrained)))


def _start(weights: Pretrained) -> Any:
    """The entry `started_from` for weights to start from; of a run it takes along what that run started from."""
    file = find_weights(weights.path).path
    folder = run_of(file)
    known = {} if folder is None else {"started_from": _json(folder / START)}
    return start_from(file, weights.source, known)


def _of_run(found: Provenance, file: Path, folder: Path) -> Provenance:
    """`found` with what the run's folder recorded."""
    state, log = read_state(file.parent), records.read(folder / records.NAME)
    tree = saved_config(folder)
    start, environment = log.starts[-1], _json(folder / "env.json") or {}
    weights = next((name for name, of in WEIGHTS.items() if of == file.name), "model")
    train, evaluated = _part(tree, "Train"), _part(tree, "Eval")
    run = {
        "name": folder.name,
        "step": state["step"],
        "steps": start["steps"],
        "epochs": start["epochs"],
        "batch_size": start["batch_size"],
        "weights": NAMES[weights],
        "seconds": log.seconds,
        "seed": tree.get("Global", {}).get("seed", 0),
        **{key: environment.get(key) for key in _ENVIRONMENT},
    }
    data = {"dataset": train.get("dataset"), "images": start["train_images"], "transforms": train.get("transforms")}
    metrics = _metrics(log, start, state["step"], weights, evaluated.get("dataset"))
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    found = replace(
        found, run=run, training_data=data, metrics=metrics, config=text, classes=found.classes or start["classes"],
        started_from=_json(folder / START),
    )  # fmt: skip
    return found.changed(_differences(found, json_of(tree["Arch"]), _steps(evaluated.get("transforms") or {})))


def _differences(found: Provenance, architecture: Mapping[str, Any], steps: Mapping[str, Any]) -> list[str]:
    """What the configuration says otherwise than the run's, in words: what the run measured is then of something else."""
    notes, own = [], found.architecture or {}
    if keys := sorted(key for key in {*own, *architecture} if own.get(key) != architecture.get(key)):
        notes.append(f"the network is built otherwise than the run's: {', '.join(f'Arch.{key}' for key in keys)}")
    if found.preprocessing is not None and list(found.preprocessing.items()) != list(steps.items()):
        notes.append("images are prepared otherwise than the run's: DataLoader.Eval.transforms")
    return notes


def _metrics(
    log: records.MetricsLog, start: Mapping[str, Any], step: int, weights: str, dataset: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """The numbers of the evaluation of exactly these weights, if there was one."""
    evals = [record for record in log.evals if record["step"] == step and record["weights"] == weights]
    return [
        {
            "key": spec.key,
            "name": spec.title,
            "value": spec.written(record[spec.key]),
            "unit": spec.unit,
            "digits": spec.digits,
            "protocol": start["protocol"],
            "data": None if dataset is None else node_text(dict(dataset)),
            "n": record["n"],
        }
        for record in evals
        for spec in log.metrics
        if record.get(spec.key) is not None
    ]


def _part(tree: Mapping[str, Any], split: str) -> Mapping[str, Any]:
    return (tree.get("DataLoader") or {}).get(split) or {}


def _steps(transforms: Mapping[str, Any]) -> dict[str, Any]:
    """Named steps with every argument, given or default."""
    return {step: json_of(components.with_defaults(node, roles.TRANSFORM)) for step, node in transforms.items()}


def json_of(value: Any) -> Any:
    """Mappings and sequences of any kind as those of JSON."""
    if isinstance(value, Mapping):
        return {str(key): json_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_of(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object that a run recorded; None where it recorded none.

    Raises:
        PPError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PPError(f"{path}: damaged ({reason(error)}): restore it or remove it") from None
    if not isinstance(content, dict):
        raise PPError(f"{path}: damaged (not an object): restore it or remove it")
    return content

"""manifest.json: what an exported folder holds, and whether it still does."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ppcore.deploy.export_spec import ExportSpec, Padding, Stage, TileRule
from ppcore.deploy.model_facts import ModelFacts
from ppcore.errors import WeightsError
from ppcore.io import sha256, write_json
from ppcore.photo.photo_form import PhotoForm, form_of

NAME = "manifest.json"
VERSION = 4
INT8_SUFFIX = ".int8.onnx"


@dataclass(frozen=True)
class StageFiles:
    """One exported stage.

    Attributes:
        name: stem of its files.
        inputs: name and shape of each, None for an open size.
        outputs: names, in the graph's order.
    """

    name: str
    inputs: dict[str, list[int | None]]
    outputs: list[str]


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json: `ppcore.deploy.export_spec.ExportSpec` without its layers, and the files.

    Attributes:
        arch: the model's class.
        suite: version of the suite that wrote it.
        formats: that are there.
        stages: what is run, in order.
        padding: as in `ExportSpec`; None for a classifier.
        enlarged_first: as in `ExportSpec`.
        tiles: as in `ExportSpec`.
        bf16: as in `ExportSpec`.
        onednn: as in `ExportSpec`.
        model: what the export is of.
        agreement: by format, how far an engine's results are from the model's own (`ppcore.deploy.agreement`).
        files: by name, each with `bytes` and `sha256`.
        in_graph: the additional graph that takes bytes and gives probabilities (`ppcore.deploy.in_graph`), if there is one.
        int8: how far the int8 form (`<stage>.int8.onnx`) is from fp32, and how it was made (`ppcore.deploy.quantization`); None: there is none.
    """

    arch: str
    suite: str
    formats: list[str]
    stages: list[StageFiles]
    padding: Padding | None
    enlarged_first: bool
    tiles: TileRule | None
    bf16: list[str] | None
    onednn: bool
    model: ModelFacts
    agreement: dict[str, dict[str, Any]]
    files: dict[str, dict[str, Any]]
    in_graph: StageFiles | None = None
    int8: dict[str, Any] | None = None

    def photo_form(self, scale: float | None, key: str = "scale") -> PhotoForm:
        """How a photograph goes through a network that makes images; arguments and errors are those of `form_of`."""
        return form_of(
            self.arch, channels=self.stages[0].inputs["x"][1], scale=self.padding.scale,
            enlarged_first=self.enlarged_first, wanted=scale, key=key,
        )  # fmt: skip


def make(
    folder: Path,
    spec: ExportSpec,
    arch: str,
    suite: str,
    formats: tuple[str, ...],
    model: ModelFacts,
    in_graph: Stage | None = None,
) -> Manifest:
    """Describes the files in `folder`, each with size and sha256."""
    stages, beside = [_facts(stage) for stage in spec.stages], None if in_graph is None else _facts(in_graph)
    bf16 = None if spec.bf16 is None else list(spec.bf16)
    return Manifest(
        arch, suite, list(formats), stages, spec.padding, spec.enlarged_first, spec.tiles, bf16, spec.onednn,
        model, {}, files(folder), beside,
    )  # fmt: skip


def _facts(stage: Stage) -> StageFiles:
    return StageFiles(stage.name, {name: list(shape) for name, shape in stage.inputs.items()}, list(stage.outputs))


def files(folder: Path, known: Mapping[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """Size and sha256 of the files in `folder`; where some are `known`, what is known of these, and of the int8 form beside them."""
    kept = {name: facts for name, facts in (known or {}).items() if not name.endswith(INT8_SUFFIX)}
    read = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in folder.iterdir()
        if path.is_file() and path.name != NAME and (known is None or path.name.endswith(INT8_SUFFIX))
    }
    return dict(sorted((read | kept).items()))


def listed(folder: Path) -> set[str] | None:
    """The names of the files that the folder's manifest lists, whatever its version; None where there is no manifest of ours."""
    try:
        content = json.loads((folder / NAME).read_text())
        return set(content["files"]) if {"version", "arch", "stages"} <= content.keys() else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json."""
    write_json(folder / NAME, {"version": VERSION, **asdict(manifest)})


def read(folder: Path) -> Manifest:
    """The manifest of an exported folder.

    Raises:
        WeightsError: there is none, it is damaged, or another version of the suite's.
    """
    path = folder / NAME
    if not path.is_file():
        raise WeightsError(f"{folder}: no exported model ({NAME} is missing); write one with tools/export_model.py")
    try:
        content = json.loads(path.read_text())
        version = content.pop("version")
        if version != VERSION:
            raise WeightsError(f"{path}: version {version}, this suite reads {VERSION}; export the model again")
        content["stages"] = [StageFiles(**stage) for stage in content["stages"]]
        for key, kind in (("padding", Padding), ("tiles", TileRule)):
            content[key] = kind(**content[key]) if content[key] else None
        content["in_graph"] = StageFiles(**content["in_graph"]) if content["in_graph"] else None
        content["model"] = ModelFacts(**content["model"])
        return Manifest(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged; export the model again") from error


def onnx_file(stage: str, precision: str) -> str:
    """The name of a stage's ONNX file for a precision."""
    return stage + (INT8_SUFFIX if precision == "int8" else ".onnx")


def check(folder: Path, manifest: Manifest, suffixes: tuple[str, ...] = ("",)) -> None:
    """Compares the files of these suffixes with the manifest; those of the int8 form where its suffix is given.

    Raises:
        WeightsError: names the first file that is missing or not as it was written.
    """
    for name, fact in manifest.files.items():
        if not name.endswith(suffixes) or (name.endswith(INT8_SUFFIX) and not {"", INT8_SUFFIX} & {*suffixes}):
            continue
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"{path}: missing; export the model again")
        if path.stat().st_size != fact["bytes"] or sha256(path) != fact["sha256"]:
            raise WeightsError(f"{path}: not the file that was exported (sha256 differs); export the model again")

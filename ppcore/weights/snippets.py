"""The lines of Python that load what was written, for model cards; tests run each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppcore.weights.card import Loader

_PLAIN = (bool, int, float, str, type(None))


def suite(file: str, layout: str, architecture: Mapping[str, Any]) -> Loader:
    """This suite, from a weight file or described folder.

    Args:
        file: its name.
        layout: its naming convention.
        architecture: the builder and its arguments, as in `Arch`.
    """
    name, arguments = architecture["name"], {k: v for k, v in architecture.items() if k != "name"}
    package = name.partition(".")[0]
    if all(isinstance(value, (*_PLAIN, list, tuple)) for value in arguments.values()):
        made = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        lines = [f"import {name.rpartition('.')[0] or package}", "from ppcore import weights", f"model = {made}"]
    else:  # an argument is a component itself
        lines = ["from ppcore import weights", "from ppcore.config import components"]
        lines.append(f"model = components.build({dict(architecture)!r})")
    source = "" if layout == "paddle" else f", source={layout!r}"
    return Loader("PaddlePaddle, with this suite", "\n".join([*lines, f"weights.load(model, {file!r}{source})"]))


def transformers(folder: str, *, preprocessor: bool) -> Loader:
    """transformers, from a folder with config.json.

    Args:
        folder: its name.
        preprocessor: whether it has preprocessor_config.json.
    """
    names = ["AutoImageProcessor"] * preprocessor + ["AutoModelForImageClassification"]
    lines = [f"from transformers import {', '.join(names)}"]
    if preprocessor:
        lines.append(f"processor = AutoImageProcessor.from_pretrained({folder!r})")
    lines.append(f"model = AutoModelForImageClassification.from_pretrained({folder!r})")
    return Loader("transformers", "\n".join(lines))


def of_export(
    folder: str,
    formats: Sequence[str],
    stages: Mapping[str, Mapping[str, Sequence[int | None]]],
    files: str | None = None,
) -> list[Loader]:
    """Exported models (`ppcore.deploy.export_model`): this suite's predictor, and other runtimes where there is one graph.

    Args:
        folder: its name.
        formats: `paddle`, `onnx`.
        stages: inputs (name, shape) of each stage by its name, as in the manifest.
        files: the call of the predictor's method that takes a file, such as `classify('photo.jpg')`.
    """
    [(first, inputs), *more] = stages.items()
    lines = ["from ppcore.deploy import Predictor", f"predictor = Predictor({folder!r})"]
    if files is not None:
        lines.append(f"answer = predictor.{files}")
    channels = next(iter(inputs.values()))[1]
    said = f"this suite's predictor (float32 images [B, {channels}, H, W] in, without Paddle)"
    found = [Loader(said, "\n".join(lines))]
    if more or "onnx" not in formats or len(inputs) != 1:
        return found
    graph = f"{folder}/{first}.onnx"
    found.append(Loader("onnxruntime", f"import onnxruntime\nsession = onnxruntime.InferenceSession({graph!r})"))
    found.append(Loader("OpenVINO", f"import openvino\nmodel = openvino.Core().compile_model({graph!r}, 'CPU')"))
    return found


def timm_network(file: str, builder: str, arguments: Mapping[str, Any], home: str | None) -> str:
    """timm, from a weight file in its layout.

    Args:
        file: its name.
        builder: the network's name there; a class's name stands for `home`.
        arguments: as timm calls them.
        home: timm's class for a network that is none of its named models.
    """
    given = "".join(f", {key}={value!r}" for key, value in arguments.items())
    if builder[:1].islower():
        return f"import timm\nmodel = timm.create_model({builder!r}{given}, checkpoint_path={file!r})"
    module, _, kind = str(home).rpartition(".")
    lines = [f"from {module} import {kind}", "from safetensors.torch import load_model"]
    return "\n".join([*lines, f"model = {kind}({given.removeprefix(', ')})", f"load_model(model, {file!r})"])

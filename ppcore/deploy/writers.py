"""Writing a stage: Paddle Inference's files through `jit.save`, ONNX from those through Paddle2ONNX."""

import importlib.util
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paddle
from paddle.static import InputSpec

from ppcore.deploy.engine_choice import ONNX_BYTES
from ppcore.deploy.export_spec import Stage
from ppcore.errors import ConfigError

FORMATS = ("paddle", "onnx")
OPSET = 17


def check_formats(formats: tuple[str, ...]) -> None:
    """Raises ConfigError for a format that is unknown or whose writer is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"export: {name!r} is no format; choose from {', '.join(FORMATS)}")
    if not formats:
        raise ConfigError(f"export: no format; choose from {', '.join(FORMATS)}")
    if "onnx" in formats:
        for module in ("paddle2onnx", "onnx"):
            if importlib.util.find_spec(module) is None:
                raise ConfigError(
                    f"export: format onnx needs {module}; install the extra 'deploy', or export paddle alone"
                )


def write_paddle(stage: Stage, folder: Path) -> None:
    """Writes <stage>.json (Paddle 3) or <stage>.pdmodel (2.6), and <stage>.pdiparams."""
    specs = [
        InputSpec([-1 if size is None else size for size in shape], stage.dtype, name)
        for name, shape in stage.inputs.items()
    ]
    own = stage.layer.__dict__.get("forward")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jit.save warns of its own internals
        try:
            static = paddle.jit.to_static(stage.layer, input_spec=specs, full_graph=True)
            paddle.jit.save(static, str(folder / stage.name))
        finally:
            # to_static has replaced the layer's forward; give it back.
            stage.layer.__dict__.pop("forward", None)
            if own is not None:
                stage.layer.forward = own
    (folder / f"{stage.name}.pdiparams.info").unlink(missing_ok=True)


def program_of(folder: Path, stage: str) -> Path:
    """The file of `write_paddle` with the graph."""
    return next(path for path in (folder / f"{stage}.json", folder / f"{stage}.pdmodel") if path.exists())


def write_onnx(stage: Stage, folder: Path) -> None:
    """Writes <stage>.onnx from the files of `write_paddle`, with the stage's names of inputs and outputs.

    Raises:
        ConfigError: the weights are more than a file of ONNX holds.
    """
    import onnx
    import paddle2onnx

    path, size = folder / f"{stage.name}.onnx", (folder / f"{stage.name}.pdiparams").stat().st_size
    if size > ONNX_BYTES:
        raise ConfigError(
            f"export: the weights are {size / 1e9:.1f} GB, and a file of ONNX holds 2.1: export format paddle alone"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Its optimiser (Polygraphy) takes minutes over the tables and gives up; the engines fold them themselves.
        paddle2onnx.export(
            str(program_of(folder, stage.name)),
            str(folder / f"{stage.name}.pdiparams"),
            str(path),
            opset_version=OPSET,
            optimize_tool="none",
        )
    model = onnx.load(str(path))
    names = dict(zip((value.name for value in model.graph.output), stage.outputs, strict=True))
    for value in model.graph.output:
        value.name = names[value.name]
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    _drop_unread_constants(model.graph)
    onnx.save(model, str(path))


def _drop_unread_constants(graph: Any) -> None:
    """Removes the constants Paddle2ONNX leaves behind: onnxruntime warns of each when it loads the file."""

    def read(nodes: Iterable[Any]) -> set[str]:
        inner = [attribute.g for node in nodes for attribute in node.attribute if attribute.HasField("g")]
        names = {name for node in nodes for name in node.input} | {out.name for each in inner for out in each.output}
        return names.union(*(read(each.node) for each in inner))  # bodies of If and Loop read outer values

    wanted = read(graph.node) | {value.name for value in graph.output}
    kept = [node for node in graph.node if node.op_type != "Constant" or wanted.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)

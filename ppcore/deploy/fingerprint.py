"""What decides what a network is exported as, in one hash."""

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

import ppcore
from ppcore.deploy import manifest
from ppcore.deploy.code import reachable
from ppcore.deploy.export_spec import ExportSpec


def fingerprint(spec: ExportSpec, formats: Sequence[str]) -> str:
    """A hash of all that decides what is exported: weights, layers and their settings, code, formats, Paddle.

    The code is that of the layers' modules and of all they import from their packages, functions included.
    """
    versions = (ppcore.__version__, manifest.VERSION, paddle.__version__, _writer(formats))
    digest = hashlib.sha256(repr((versions, sorted(formats))).encode())
    digest.update(repr((spec.padding, spec.enlarged_first, spec.tiles, spec.bf16, spec.onednn)).encode())
    modules = {"ppcore.deploy.writers"}
    for stage in spec.stages:
        digest.update(repr((stage.name, dict(stage.inputs), stage.outputs, stage.dtype)).encode())
        for name, layer in stage.layer.named_sublayers(include_self=True):
            kind = type(layer)
            modules.add(kind.__module__)
            digest.update(repr((name, kind.__qualname__, sorted(_settings(layer)))).encode())
        arrays = {**stage.layer.state_dict(), **dict(stage.layer.named_buffers())}  # buffers that are not saved, too
        for name, value in arrays.items():
            digest.update(repr((name, *_of_array(value.numpy()))).encode())
    modules = {module for module in modules if not module.startswith("paddle.")}
    for name, path in reachable(modules).items():
        digest.update(repr((name, path.read_bytes())).encode())
    return digest.hexdigest()[:24]


def _writer(formats: Sequence[str]) -> str | None:
    """The version of what writes ONNX."""
    return version("paddle2onnx") if "onnx" in formats and importlib.util.find_spec("paddle2onnx") else None


@functools.cache
def _of_every_layer() -> frozenset[str]:
    """The attributes that Paddle gives every layer: its parameters, sublayers, hooks, …"""
    return frozenset(vars(nn.Layer()))


def _settings(layer: nn.Layer) -> Iterator[tuple[str, str]]:
    """The attributes of a layer that say what it computes (its unique name, its mode and its caches do not), as texts."""
    for key, value in vars(layer).items():
        cache = key.startswith("_") and isinstance(value, Mapping | np.ndarray | paddle.Tensor)
        if cache or key in ("training", "forward") or key.endswith("_name"):
            continue
        if key not in _of_every_layer() or value is None or isinstance(value, bool | int | float | str):
            said = _said(value)
            if said is not None:
                yield key, repr(said)


def _said(value: Any) -> Any:
    """A setting as plain data with a text of its own; None for what is none, such as an object of somebody's class."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    if isinstance(value, tuple | list):
        return [_said(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(_said(item)) for item in value)
    if isinstance(value, Mapping):
        return [(_said(key), _said(item)) for key, item in value.items()]
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, paddle.Tensor):
        return _of_array(value.numpy())
    if isinstance(value, functools.partial):
        return [_said(value.func), _said(value.args), _said(value.keywords)]
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}:{value.__code__.co_firstlineno}"
    if isinstance(value, BuiltinFunctionType | type):
        return f"{value.__module__}.{value.__qualname__}"
    return None


def _of_array(array: np.ndarray) -> tuple[tuple[int, ...], str, str]:
    return array.shape, str(array.dtype), hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()

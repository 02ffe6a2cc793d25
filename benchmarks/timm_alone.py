"""timm without torchvision: its networks import torchvision for data pipelines and for types they only compare with.

Where torchvision is missing, names of it become empty classes, in this process alone. The networks' code is timm's own.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any

ABSENT = "torchvision"


class _Names(type):
    """A class whose attributes are texts, such as an enumeration's members."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Names(name, (), {})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        inside = fullname.partition(".")[0] == ABSENT
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if inside else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def timm() -> Any:
    """The package.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    if importlib.util.find_spec(ABSENT) is None:
        sys.meta_path.append(_Finder())
    return importlib.import_module("timm")


def network(spec: dict[str, Any], weights: str) -> Any:
    """A network of timm in evaluation mode, with all its weights from a file.

    Args:
        spec: `name`, and arguments of `timm.create_model`.
        weights: an .npz in timm's layout.
    """
    import numpy as np
    import torch

    rest = dict(spec)
    model = timm().create_model(rest.pop("name"), pretrained=False, **rest)
    with np.load(weights) as arrays:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=True)
    return model.eval()


def write_onnx(job: dict[str, Any]) -> dict[str, Any]:
    """torch's export of timm's network to ONNX, open batch.

    Args:
        job: `timm` and `weights` as `network` takes them, `size` of the image, `path` to write.
    """
    import torch

    model = network(job["timm"], job["weights"])
    x = torch.zeros(2, 3, job["size"], job["size"])
    torch.onnx.export(
        model, (x,), job["path"], dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )  # fmt: skip
    return {}


if __name__ == "__main__":
    from benchmarks.fresh_process import answer

    answer(write_onnx)

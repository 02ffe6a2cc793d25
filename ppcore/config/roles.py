"""What a configuration may name, for each purpose: where it may come from, and what it must be.

Nothing is registered by hand and no folder is scanned. A component's *role* (a network, a criterion, …) lists the
public modules of the suite it may be named from; beside them stand whole packages: those installed with an entry
point of the group `ppcore.papers`, and those `allow` has added. Wherever it is from, it must be what the role
says: a class with the role's methods, or a function that says it returns one. What starts, writes, loads or
deletes is none of these.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, is_typeddict

from pydantic import BaseModel

from ppcore.config.foreign import is_foreign
from ppcore.config.signatures import made_by
from ppcore.errors import ConfigError

GROUP = "ppcore.papers"  # entry points; each names a package

_allowed: list[str] = []


class Criterion(Protocol):
    """What is minimised."""

    def __call__(self, outputs: Any, batch: dict) -> Any:
        """The loss, a scalar, of a network's outputs on a batch."""
        ...


@dataclass(frozen=True)
class Role:
    """What a component is named for.

    Attributes:
        what: with its article, for messages.
        needs: what makes a class or function one.
        modules: public modules of the suite and of Paddle that it may be named from.
        plays: whether a class or function is one.
        example: a name.
        protocol: the annotation of an argument that takes one, as a dotted path.
        provided: arguments that the program gives when it builds one; a configuration leaves them out.
    """

    what: str
    needs: str
    modules: tuple[str, ...]
    plays: Callable[[Any], bool]
    example: str
    protocol: str | None = None
    provided: tuple[str, ...] = ()


def _takes(target: Any, *methods: str) -> list[str] | None:
    """Names of the positional parameters of the first of these methods that a class has; None without any."""
    for method in methods:
        function = getattr(target, method, None) if inspect.isclass(target) else None
        if inspect.isfunction(function):
            parameters = inspect.signature(function).parameters.values()
            return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][1:]
    return None


def _has(**methods: list[str]) -> Callable[[Any], bool]:
    """Whether a class has these methods, each with exactly these positional parameters."""
    return lambda target: all(_takes(target, name) == parameters for name, parameters in methods.items())


def _called_with(target: Any) -> list[str]:
    """What an instance is called with, at least two names; a network's `__call__` hands on to `forward`."""
    return [*(_takes(target, "forward", "__call__") or ()), "", ""]


def _begins_with(*names: str) -> Callable[[Any], bool]:
    """Whether the first parameters of a function, not of a class, have these names."""

    def begins(target: Any) -> bool:
        return inspect.isfunction(target) and [*inspect.signature(target).parameters][: len(names)] == [*names]

    return begins


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_foreign_builder(target: Any) -> bool:
    return inspect.isfunction(target) and is_foreign(target)


def _is_network(target: Any) -> bool:
    from paddle import nn

    made = made_by(target)
    return _is_foreign_builder(target) if made is None else issubclass(made, nn.Layer)


def _is_transform(target: Any) -> bool:
    first, second, *_ = _called_with(target)
    return second == "rng" and first != "batch"


def adds_up(target: Any) -> bool:
    """Whether a metric adds up over the batches of a split; the others are evaluators."""
    updates = [*(_takes(target, "update") or ()), "", ""]
    others = all(_takes(target, method) is not None for method in ("compute", "describe"))
    return updates[1] == "batch" and others and hasattr(target, "primary_metric")


def _is_metric(target: Any) -> bool:
    return adds_up(target) or (_takes(target, "evaluate") or [])[:2] == ["model", "run"]


def _is_optimizer(target: Any) -> bool:
    if not (inspect.isfunction(target) or inspect.isclass(target)):
        return False
    return {"parameters", "decayed", "weight_decay"} <= set(inspect.signature(target).parameters)


_DATASET = "ppcore.data.datasets.dataset.Dataset"
NETWORK = Role(
    "a network",
    "to be a paddle.nn.Layer, or a function annotated to return one",
    ("ppcore.layers", "paddle.nn", "paddle.vision.models", "paddleclas"),
    _is_network,
    "paddle.vision.models.resnet18",
)
CRITERION = Role(
    "a criterion",
    "to be a class with __call__(outputs, batch)",
    ("ppcore.losses",),
    lambda target: _called_with(target)[1] == "batch",
    "ppcore.losses.CrossEntropy",
    "ppcore.config.roles.Criterion",
    provided=("run",),
)
TASK = Role(
    "a task",
    "to be a class with optimizers(), losses(batch, step), after_update(step) and evaluators()",
    ("ppcore.engine.task",),
    _has(optimizers=[], losses=["batch", "step"], after_update=["step"], evaluators=[]),
    "ppcore.engine.task.Supervised",
    provided=("run",),
)
OPTIMIZER = Role(
    "an optimizer",
    "to take parameters, decayed and weight_decay",
    ("ppcore.optim",),
    _is_optimizer,
    "ppcore.optim.AdamW",
    provided=("parameters", "weight_decay", "decayed"),
)
SCHEDULE = Role(
    "a schedule",
    "to be a class with bind(plan)",
    ("ppcore.schedules",),
    _has(bind=["plan"]),
    "ppcore.schedules.TimmCosine",
)
DATASET = Role(
    "a dataset",
    "to be a class derived from ppcore.data.Dataset, with __len__() and load(index)",
    ("ppcore.data",),
    lambda target: (
        inspect.isclass(target) and _DATASET in map(_full_name, target.__mro__) and bool(_takes(target, "load"))
    ),
    "ppcore.data.ImageFolder",
    _DATASET,
)
TRANSFORM = Role(
    "a transform",
    "to be a class with __call__(image, rng)",
    ("ppcore.data",),
    _is_transform,
    "ppcore.data.Normalize",
    "ppcore.data.transforms.transform.Transform",
)
BATCH_TRANSFORM = Role(
    "a batch transform",
    "to be a class with __call__(batch, rng)",
    ("ppcore.data",),
    lambda target: _called_with(target)[:2] == ["batch", "rng"],
    "ppcore.data.Mixup",
    provided=("num_classes",),
)
METRIC = Role(
    "a metric",
    "to be a class with update(outputs, batch), compute(), describe(), specs and primary_metric, or with evaluate(model, run) and specs",
    ("ppcore.metrics",),
    _is_metric,
    "ppcore.metrics.TopK",
)
# What a configuration's sections and the arguments of its components may be.
COMPONENTS = (NETWORK, CRITERION, TASK, OPTIMIZER, SCHEDULE, DATASET, TRANSFORM, BATCH_TRANSFORM, METRIC)
# What the tables of `papers/` name beside builders of networks; no configuration does.
FIDELITY = Role(
    "a reference",
    "to be a class with build(), forward(model, x), stages(model), loss(outputs, arrays, rows, run) and optimizer(model, run)",
    (),
    _has(
        build=[],
        forward=["model", "x"],
        stages=["model"],
        loss=["outputs", "arrays", "rows", "run"],
        optimizer=["model", "run"],
    ),
    "mypaper.reference.MyReference",
)
ANALYSIS = Role(  # a measure, or a figure drawn of a network
    "a measure", "to be a function of (model, images)", (), _begins_with("model", "images"), "mypaper.tokens.cosine"
)
FIGURE = Role("a figure", "to be a function of (pairs)", (), _begins_with("pairs"), "mypaper.figures.draw")


def of_annotation(annotation: Any) -> Role | None:
    """The role of the components that an argument annotated so takes; None for plain data.

    Such annotations are the protocol of a role, a network's class, and the classes of the suite and of the packages
    that may be named.
    """
    if not inspect.isclass(annotation) or issubclass(annotation, BaseModel) or is_typeddict(annotation):
        return None
    home = annotation.__module__
    for role in COMPONENTS:
        if role.protocol == f"{home}.{annotation.__qualname__}":
            return role
    ours = inside(home, "ppcore", *(package.partition(".")[0] for package in packages()))
    network = inside(home, "paddle.nn") or (ours and "paddle" in sys.modules and _is_network(annotation))
    if not ours and not network:
        return None
    everywhere = tuple(dict.fromkeys(module for role in COMPONENTS for module in role.modules))
    return Role(
        f"{'an' if annotation.__name__[0] in 'AEIOU' else 'a'} {annotation.__name__}",
        f"to be {home.partition('.')[0]}'s {annotation.__name__}, or a function annotated to return one",
        NETWORK.modules if network else everywhere,
        lambda target: _gives(target, annotation),
        NETWORK.example,
    )


def _gives(target: Any, wanted: type) -> bool:
    made = made_by(target)
    if made is None:
        return _is_foreign_builder(target) and wanted.__qualname__ == "Layer"
    return wanted in made.__mro__  # by inheritance: a protocol is what says that it is one


@cache
def registered() -> tuple[str, ...]:
    """Packages that are installed with an entry point of the group `ppcore.papers`."""
    return tuple(sorted({point.module for point in entry_points(group=GROUP)}))


def allow(package: str) -> None:
    """Lets configurations name what is in a package on Python's path, for the rest of this process.

    Only a command line (`--allow`) should call this, never what a configuration says.

    Raises:
        ConfigError: there is no such package.
    """
    found = all(part.isidentifier() for part in package.split("."))
    try:
        found = found and importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if not found:
        raise ConfigError(
            f"--allow {package}: no such package on Python's path: write it as in an import, and set "
            "PYTHONPATH to the folder that holds it"
        )
    if package not in _allowed:
        _allowed.append(package)


def disallow_all() -> None:
    """Takes back every `allow`."""
    _allowed.clear()


def allowed() -> tuple[str, ...]:
    """Packages that `allow` has added."""
    return tuple(_allowed)


def packages() -> tuple[str, ...]:
    """Packages that may be named as a whole."""
    return (*registered(), *_allowed)


def inside(module: str, *packages: str) -> bool:
    """Whether a module is one of these packages or in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)

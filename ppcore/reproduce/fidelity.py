"""Measuring a tiny model of ours against numbers that another implementation has computed and stored.

A stored file (`.npz`, with its facts beside it in `.json`) holds `weights/NAME`, images `x`, one pass with its
`stages/NAME`, `loss` and `gradients/NAME`, and short trainings: `RUN/loss`, `RUN/grad_norm`, `RUN/final_norms`, and further
curves, `RUN/NAME`. A paper describes its model in a class (`Reference`); reading, comparing and training are here.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle
import paddle.nn as nn

import ppcore.weights
from ppcore import optim
from ppcore.model import parameter_count
from ppcore.weights.conversion import map_of

OF_MAX, RELATIVE = "max |difference| / max |reference|", "largest relative difference"
_OF_EVERY_TRAINING = ("loss", "grad_norm", "final_norms")

Arrays = Mapping[str, np.ndarray]
Stages = Mapping[str, paddle.Tensor]


class Reference(Protocol):
    """What a paper says of its tiny model, made with the facts of the stored file.

    Attributes:
        layout: of the stored weights and gradients, `paddle` or one of the model's `weight_maps()`.
        variants: arguments of `build` by name, each measured in one pass; {"": {}} for a single one.
        precision: of the trainings, float32 or float64.
        gradients: what the row of the gradients is called, and its tolerance.
        zero_gradients: (part, of) by the end of a name: that one of `of` equal parts is zero in exact arithmetic.
        steps: of every training.
        trainings: their names, as the arrays begin.
        norm_tolerance: of the gradient's norm in training.
        unsettled: by the end of a name, what to call tensors that a training leaves to rounding.
    """

    layout: str
    variants: Mapping[str, Mapping[str, Any]]
    precision: str
    gradients: tuple[str, float]
    zero_gradients: Mapping[str, tuple[int, int]]
    steps: int
    trainings: Sequence[str]
    norm_tolerance: float
    unsettled: Mapping[str, str]

    def build(self, **variant: Any) -> nn.Layer:
        """The model, in the mode of the one pass; its values do not matter."""
        ...

    def forward(self, model: nn.Layer, x: paddle.Tensor) -> tuple[Any, Stages]:
        """What `model` minimises the loss of, and its stages by their stored names."""
        ...

    def stages(self, model: nn.Layer) -> Mapping[str, tuple[Sequence[str], float]]:
        """Every stage of the file in rows: what a row is called, its stages and their tolerance."""
        ...

    def loss(self, outputs: Any, arrays: Arrays, rows: Sequence[int], run: str | None) -> paddle.Tensor:
        """The scalar that a training minimises on those images; `run` None: whose gradients the one pass has."""
        ...

    def label(self, run: str) -> str:
        """A training in words: `AdamW, soft cross-entropy`."""
        ...

    def optimizer(self, model: nn.Layer, run: str) -> paddle.optimizer.Optimizer:
        """The optimiser of a training."""
        ...

    def rate(self, run: str, step: int) -> float:
        """The learning rate of a step, 0 being the first."""
        ...

    def clip(self, run: str) -> float | None:
        """The largest global norm of the gradients in a training."""
        ...


class Followed(Reference, Protocol):
    """A reference whose trainings have further curves in the file: of a second network, or of what a criterion keeps.

    Attributes:
        curves: by the name of a curve what it is called, and its tolerance.
    """

    curves: Mapping[str, tuple[str, float]]

    def watched(self, model: nn.Layer, run: str) -> Mapping[str, Any]:
        """A number or an array of the step just done for each curve; gradients are still there."""
        ...


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        level: 1 structure, 2 forward, 3 gradients, 4 training, 5 trained weights.
        what: what was compared.
        measured: the gap, in the unit `kind`.
        tolerance: the largest gap that passes.
        kind: how the gap is measured.
    """

    level: int
    what: str
    measured: float
    tolerance: float
    kind: str

    @property
    def passed(self) -> bool:
        """Within tolerance; NaN is not."""
        return bool(self.measured <= self.tolerance)


def of_max(ours: np.ndarray, reference: np.ndarray) -> float:
    """max |ours - reference| / max |reference|."""
    if ours.shape != reference.shape:
        raise ValueError(f"shapes differ: {ours.shape} and {reference.shape}")
    return float(np.abs(np.float64(ours) - reference).max() / np.abs(reference).max())


def relative(ours: np.ndarray, reference: np.ndarray) -> float:
    """max (|ours - reference| / |reference|)."""
    if ours.shape != reference.shape:
        raise ValueError(f"shapes differ: {ours.shape} and {reference.shape}")
    return float((np.abs(np.float64(ours) - reference) / np.abs(reference)).max())


def count_parameters(builder: Callable[[], nn.Layer]) -> int:
    """Parameters of a builder's default model, without allocating them."""
    with paddle.LazyGuard():
        return parameter_count(builder())


def measure(described: Callable[[Mapping[str, Any]], Reference], path: Path) -> list[Row]:
    """All comparisons of a paper: one pass of every variant, then every training."""
    facts, arrays = read(path)
    reference = described(facts)
    rows = [row for variant in reference.variants for row in one_pass(reference, arrays, variant)]
    return rows + [row for run in reference.trainings for row in training(reference, arrays, run)]


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """(facts, arrays) of a stored file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), arrays


def one_pass(reference: Reference, arrays: Arrays, variant: str = "") -> Iterator[Row]:
    """Every stage of the forward pass, the loss, every gradient.

    Raises:
        ValueError: the file has other stages than the model.
    """
    model = _filled(reference, arrays, **reference.variants[variant])
    suffix = f" ({variant})" if variant else ""
    images = list(range(_batch_size(arrays)))
    x = paddle.to_tensor(arrays["x"][images], stop_gradient=False)
    outputs, stages = reference.forward(model, x)
    groups = reference.stages(model)
    stored, compared = set(_below(arrays, "stages/")), {name for names, _ in groups.values() for name in names}
    if stored != compared:
        raise ValueError(f"the file or the model alone has the stages {', '.join(sorted(stored ^ compared))}")
    for label, (names, tolerance) in groups.items():
        gap = max(of_max(stages[name].numpy(), arrays[f"stages/{name}"]) for name in names)
        yield Row(2, f"{label}{suffix}", gap, tolerance, OF_MAX)
    loss = reference.loss(outputs, arrays, images, None)
    loss.backward()
    yield Row(2, f"loss{suffix}", relative(np.array(float(loss)), arrays["loss"]), 1e-5, RELATIVE)
    label, tolerance = reference.gradients
    yield Row(3, f"{label}{suffix}", _gradient_gap(reference, model, x, arrays), tolerance, OF_MAX)


def _gradient_gap(reference: Reference, model: nn.Layer, x: paddle.Tensor, arrays: Arrays) -> float:
    """The largest gap among the gradients of the images and of every parameter."""
    gaps = [of_max(x.grad.numpy(), arrays["gradients/x"])]
    ours = {name: p.grad.numpy() for name, p in model.named_parameters() if not p.stop_gradient}
    for name, gradient in _as_stored(reference, model, ours).items():
        stored = arrays[f"gradients/{name}"]
        for part, of in (zero for ending, zero in reference.zero_gradients.items() if name.endswith(ending)):
            gradient, stored = (np.concatenate(np.delete(np.split(a, of), part, axis=0)) for a in (gradient, stored))
        gaps.append(of_max(gradient, stored))
    return max(gaps)


def training(reference: Reference, arrays: Arrays, run: str) -> Iterator[Row]:
    """A short training: loss and norm of the gradient at every step, further curves, length of every tensor at the end.

    Step t takes as many images as the one pass had, from number t · that on, around the end of the stored ones.
    """
    model = _filled(reference, arrays)
    model.to(dtype=reference.precision)
    model.train()
    optimizer = reference.optimizer(model, run)
    size, images = _batch_size(arrays), arrays["x"].astype(reference.precision)
    label, stored = f"{reference.steps} steps of {reference.label(run)}", _below(arrays, f"{run}/")
    followed: dict[str, list] = {name: [] for name in stored if name not in _OF_EVERY_TRAINING}
    losses, norms = [], []
    for step in range(reference.steps):
        rows = [(step * size + i) % len(images) for i in range(size)]
        optimizer.set_lr(reference.rate(run, step))
        loss = reference.loss(model(paddle.to_tensor(images[rows])), arrays, rows, run)
        loss.backward()
        norms.append(_clipped_norm(model, reference.clip(run)))
        losses.append(float(loss))
        optimizer.step()
        watched = reference.watched(model, run) if followed else {}
        for name, curve in followed.items():
            curve.append(watched[name])
        optimizer.clear_grad()
    yield Row(4, f"{label}: loss", relative(np.array(losses), stored["loss"]), 1e-5, RELATIVE)
    gap = relative(np.array(norms), stored["grad_norm"])
    yield Row(4, f"{label}: gradient norm", gap, reference.norm_tolerance, RELATIVE)
    for name, curve in followed.items():
        what, tolerance = reference.curves[name]
        yield Row(4, f"{label}: {what}", of_max(np.array(curve), stored[name]), tolerance, OF_MAX)
    final = _as_stored(reference, model, {name: tensor.numpy() for name, tensor in model.state_dict().items()})
    names = list(_below(arrays, "weights/"))
    lengths = np.array([np.linalg.norm(final[name].astype(np.float64)) for name in names])
    settled = np.array([not name.endswith(tuple(reference.unsettled)) for name in names])
    which = " but ".join(["every final tensor", *reference.unsettled.values()])
    gap = relative(lengths[settled], stored["final_norms"][settled])
    yield Row(4, f"{label}: norm of {which}", gap, 1e-5, RELATIVE)


def _filled(reference: Reference, arrays: Arrays, **variant: Any) -> nn.Layer:
    """The model with the stored weights."""
    model = reference.build(**variant)
    model.set_state_dict(ppcore.weights.convert(_below(arrays, "weights/"), source=reference.layout, model=model))
    return model


def _clipped_norm(model: nn.Layer, limit: float | None) -> float:
    """The global norm of the gradients, in their own precision, before they are scaled to the limit."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    clipped = optim.clip_grad_norm(model.parameters(), limit)
    if gradients[0].dtype == paddle.float32 or limit is not None:  # it adds up in float32
        return float(clipped)
    return float(paddle.add_n([(gradient**2).sum() for gradient in gradients]).sqrt())


def _as_stored(reference: Reference, model: nn.Layer, values: Arrays) -> dict[str, np.ndarray]:
    """Arrays by our names in the layout of the file."""
    return map_of(model, reference.layout).from_paddle(dict(values), model)


def _batch_size(arrays: Arrays) -> int:
    """Images of the one pass."""
    return len(next(iter(_below(arrays, "stages/").values())))


def _below(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}

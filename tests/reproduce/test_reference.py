"""What a paper describes and what is measured: a network of one layer whose numbers numpy has computed."""

import json
from collections.abc import Mapping

import numpy as np
import paddle
import pytest

from ppcore import optim
from ppcore.config import roles
from ppcore.reproduce import fidelity

STEPS, RATE = 3, 0.1


class LinearReference:
    """y = x W + b, minimised: half the mean square of y; plain gradient descent."""

    layout = "paddle"
    variants: Mapping = {"": {}}
    precision = "float64"
    gradients = ("gradients", 1e-6)
    zero_gradients: Mapping = {}
    unsettled: Mapping = {}
    norm_tolerance = 1e-6
    steps = STEPS
    trainings = ("descent",)

    def __init__(self, facts):
        self.rates = facts["rates"]

    def build(self):
        return paddle.nn.Linear(3, 2)

    def forward(self, model, x):
        y = model(x)
        return y, {"y": y}

    def stages(self, model):
        return {"output": (["y"], 1e-6)}

    def loss(self, outputs, arrays, rows, run):
        return 0.5 * (outputs**2).mean()

    def label(self, run):
        return f"gradient {run}"

    def optimizer(self, model, run):
        return optim.make(model, optim.SGD, weight_decay=0.0, no_weight_decay=[])

    def rate(self, run, step):
        return self.rates[step]

    def clip(self, run):
        return None


@pytest.fixture
def stored(tmp_path):
    """Writes the file, with changes; returns its path."""
    rng = np.random.default_rng(0)
    weight, bias, x = (rng.standard_normal(shape) for shape in ((3, 2), (2,), (6, 3)))
    weight, bias, x = (array.astype(np.float32).astype(np.float64) for array in (weight, bias, x))

    def numbers(x, weight, bias):
        y = x @ weight + bias
        slope = y / y.size
        return y, 0.5 * (y**2).mean(), {"weight": x.T @ slope, "bias": slope.sum(0), "x": slope @ weight.T}

    y, loss, gradients = numbers(x[:2], weight, bias)
    arrays = {"x": x, "weights/weight": weight, "weights/bias": bias, "stages/y": y, "loss": loss}
    arrays |= {f"gradients/{name}": gradient for name, gradient in gradients.items()}
    losses, norms = [], []
    for step in range(STEPS):
        _, loss, gradients = numbers(x[2 * step : 2 * step + 2], weight, bias)
        losses.append(loss)
        norms.append(np.sqrt((gradients["weight"] ** 2).sum() + (gradients["bias"] ** 2).sum()))
        weight, bias = weight - RATE * gradients["weight"], bias - RATE * gradients["bias"]
    lengths = [np.linalg.norm(weight), np.linalg.norm(bias)]
    arrays |= {"descent/loss": losses, "descent/grad_norm": norms, "descent/final_norms": lengths}

    def write(**changes):
        path = tmp_path / "linear.npz"
        whole = {name: np.float64(array) for name, array in (arrays | changes).items()}
        single = {name: np.float32(a) if name == "x" or name.startswith("weights/") else a for name, a in whole.items()}
        np.savez(path, **single)
        path.with_suffix(".json").write_text(json.dumps({"rates": [RATE] * STEPS}))
        return path

    return write


def failed(path) -> set[str]:
    return {row.what for row in fidelity.measure(LinearReference, path) if not row.passed}


def test_the_rows(stored):
    rows = fidelity.measure(LinearReference, stored())
    assert [(row.level, row.what) for row in rows] == [
        (2, "output"), (2, "loss"), (3, "gradients"), (4, "3 steps of gradient descent: loss"),
        (4, "3 steps of gradient descent: gradient norm"), (4, "3 steps of gradient descent: norm of every final tensor"),
    ]  # fmt: skip
    assert all(row.passed for row in rows), rows


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"stages/y": np.ones((2, 2))}, "output"),
        ({"gradients/bias": np.ones(2)}, "gradients"),
        ({"gradients/x": np.ones((2, 3))}, "gradients"),
        ({"descent/loss": np.ones(3)}, "3 steps of gradient descent: loss"),
        ({"descent/grad_norm": np.ones(3)}, "3 steps of gradient descent: gradient norm"),
        ({"descent/final_norms": np.ones(2)}, "3 steps of gradient descent: norm of every final tensor"),
        ({"descent/loss": np.full(3, np.nan)}, "3 steps of gradient descent: loss"),
    ],
)
def test_another_number_fails_its_row_alone(stored, change, row):
    assert failed(stored(**change)) == {row}


def test_what_is_zero_in_exact_arithmetic_is_left_out(stored, monkeypatch):
    gradients = dict(np.load(stored()))["gradients/bias"]
    path = stored(**{"gradients/bias": gradients * [1, 5]})
    assert failed(path) == {"gradients"}
    monkeypatch.setattr(LinearReference, "zero_gradients", {"bias": (1, 2)})
    assert not failed(path)
    monkeypatch.setattr(LinearReference, "zero_gradients", {"bias": (0, 2)})
    assert failed(path) == {"gradients"}


def test_a_stage_that_one_of_them_lacks_is_said(stored):
    with pytest.raises(ValueError, match="alone has the stages z"):
        fidelity.measure(LinearReference, stored(**{"stages/z": np.ones(2)}))


def test_the_role_of_a_reference():
    assert roles.FIDELITY.plays(LinearReference)
    assert not roles.FIDELITY.plays(paddle.nn.Linear)

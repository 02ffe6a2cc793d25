"""AMP O2 on a CPU: half-precision weights, float32 masters, and what is averaged, saved and restored of them.

Paddle's own `paddle.amp.decorate` runs, made to believe in a GPU. What a CPU has no kernel for is emulated as the GPU
kernels are defined: an update is the float32 kernel's on the master, and the weight is the master rounded.
"""

import re
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from checkpointed import assert_same, everything

from ppcore import optim
from ppcore.config import AMPSection
from ppcore.ema import EMA
from ppcore.engine.precision import Precision
from ppcore.errors import CheckpointError
from ppcore.weights.checkpoints import Checkpoints, restore
from ppcore.weights.files import read
from ppcore.weights.training_state import EMA_FILE, MODEL, OPTIMIZERS, TrainingState, copy_into

# Paddle's batch norm, whenever it trains.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance")

FACTORIES = {"AdamW": optim.AdamW, "Momentum": optim.Momentum, "Lamb": optim.Lamb}
MASTER = re.compile(r".*_fp32_master_\d+")


class Widened(paddle.nn.Layer):
    """Two linear layers around a batch norm; products in float32, as no CPU kernel takes half precision."""

    def __init__(self):
        super().__init__()
        self.fc1, self.norm, self.fc2 = paddle.nn.Linear(5, 6), paddle.nn.BatchNorm1D(6), paddle.nn.Linear(6, 3)

    def forward(self, x):
        for layer in (self.fc1, self.fc2):
            x = x @ layer.weight.astype("float32") + layer.bias.astype("float32")
            x = self.norm(x) if layer is self.fc1 else x
        return x


def on_masters(kernel):
    """A float32 optimiser kernel as the multi-precision one of a GPU."""

    def update(*arguments):
        arguments = list(arguments)
        where = [i for i, a in enumerate(arguments) if isinstance(a, paddle.Tensor) and MASTER.fullmatch(a.name)]
        if not where:
            return kernel(*arguments)
        weight, gradient, master = arguments[0], arguments[1], arguments[where[0]]
        flags = {"adamw_": lambda a: a.index(1000, 11) + 1, "momentum_": lambda a: 9, "lamb_": lambda a: len(a) - 1}
        flag = flags[kernel.__name__](arguments)
        assert arguments[flag] is True
        arguments[0], arguments[1], arguments[where[0]], arguments[flag] = (
            master,
            gradient.astype("float32"),
            None,
            False,
        )
        done = kernel(*arguments)
        paddle.assign(master.astype(weight.dtype), output=weight)
        return done

    return update


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    place = SimpleNamespace(is_gpu_place=lambda: True, is_xpu_place=lambda: False, is_custom_place=lambda: False)
    amp = sys.modules["paddle.amp.auto_cast"]
    monkeypatch.setattr(amp, "_dygraph_tracer", lambda: SimpleNamespace(_expected_place=place))
    monkeypatch.setattr(amp, "_is_gpu_float16_supported", lambda: True)
    monkeypatch.setattr(amp, "_is_gpu_bfloat16_supported", lambda: True)
    for name in ("adamw_", "momentum_", "lamb_"):
        monkeypatch.setattr(paddle._C_ops, name, on_masters(getattr(paddle._C_ops, name)))


class Run:
    """A model under O2, its optimiser and its average, some steps in."""

    def __init__(self, factory, steps: int, seed: int = 0, dtype: str = "bfloat16", level: str = "O2"):
        paddle.seed(seed)
        self.model = Widened()
        self.optimizer = optim.make(self.model, factory, weight_decay=0.1, no_weight_decay=["1d"])
        Precision(AMPSection(level=level, dtype=dtype), "gpu").decorate(self.model, [self.optimizer])
        self.ema = EMA(self.model, 0.9)
        for step in range(steps):
            self.step(step)

    def step(self, step: int) -> None:
        x = np.random.default_rng(step).standard_normal((4, 5)).astype("float32")
        self.optimizer.set_lr(0.02)
        self.model(paddle.to_tensor(x)).square().mean().backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.ema.update(self.optimizer._master_weights)

    def answer(self) -> np.ndarray:
        self.model.eval()
        with paddle.no_grad():
            answer = self.model(paddle.linspace(-1, 1, 10).reshape([2, 5])).numpy()
        self.model.train()
        return answer

    def training(self) -> TrainingState:
        return TrainingState(self.model, self.model, {"model": self.optimizer}, self.ema)

    def arrays(self) -> dict[str, np.ndarray]:
        return everything(self.training())


@pytest.mark.parametrize("name", FACTORIES)
def test_the_emulation_is_o2(name):
    run = Run(FACTORIES[name], 3)
    assert run.model.fc1.weight.dtype == paddle.bfloat16
    assert run.model.norm.weight.dtype == paddle.float32  # Paddle keeps batch norms
    masters = run.optimizer._master_weights
    assert len(masters) == 4
    for p in (run.model.fc1.weight, run.model.fc2.bias):
        master = masters[p.name]
        assert master.dtype == paddle.float32
        assert (master.numpy() != p.astype("float32").numpy()).any()
        np.testing.assert_array_equal(master.astype("bfloat16").astype("float32").numpy(), p.astype("float32").numpy())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_restored_run_is_the_saved_one_and_goes_on_alike(name, tmp_path):
    one = Run(FACTORIES[name], 3)
    saved = Checkpoints(tmp_path).save(3, one.training(), state={"best": None})
    slots = set(one.training().arrays()[OPTIMIZERS])
    assert "model|fc1.weight|master" in slots
    other = Run(FACTORIES[name], 0, seed=5)
    restore(saved, other.training())
    for kind in (MODEL, EMA_FILE):
        assert_same(*({k: a for k, a in r.arrays().items() if k.startswith(kind)} for r in (other, one)))
    for own, restored in zip(one.model.parameters(), other.model.parameters(), strict=True):
        if own.name in one.optimizer._master_weights:
            masters = (r.optimizer._master_weights[p.name] for r, p in ((one, own), (other, restored)))
            np.testing.assert_array_equal(*(m.numpy() for m in masters))
    for step in (3, 4):
        one.step(step)
        other.step(step)
    assert_same(other.arrays(), one.arrays())
    np.testing.assert_array_equal(other.answer(), one.answer())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_run_that_has_stepped_can_be_set_back(name, tmp_path):
    run = Run(FACTORIES[name], 3)
    before = run.arrays()
    saved = Checkpoints(tmp_path).save(3, run.training(), state={})
    run.step(3)
    restore(saved, run.training())
    assert_same(run.arrays(), before)


@pytest.mark.parametrize("saved_under", ["O2", "O0"])
def test_a_run_of_the_other_precision_is_refused(saved_under, tmp_path):
    # AMP.unavailable=float32 lets a run go on where there is no O2.
    one, other = (
        Run(optim.AdamW, 2, level=saved_under),
        Run(optim.AdamW, 0, level={"O2": "O0", "O0": "O2"}[saved_under]),
    )
    saved = Checkpoints(tmp_path).save(2, one.training(), state={})
    with pytest.raises(CheckpointError, match=r"AMP O2 and this run is .*: go on where AMP\.level is the same"):
        restore(saved, other.training())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("hooked", [False, True])
def test_the_average_is_what_computes_while_it_is_applied(dtype, hooked, monkeypatch):
    off = SimpleNamespace(is_enable=lambda: False)
    monkeypatch.setattr(paddle.amp, "GradScaler", lambda **_: off)  # the real one warns on a CPU
    run = Run(optim.AdamW, 4, dtype=dtype)
    if hooked:
        hook = sys.modules["paddle.amp.auto_cast"].StateDictHook("float32")
        for layer in run.model.sublayers(include_self=True):
            layer.register_state_dict_hook(hook)
    live = run.arrays()
    plain = run.answer()
    other = Widened()  # all float32, with the average rounded as the weights are
    rounded = {name: value if "norm" in name else value.astype(dtype).astype("float32") for name, value in
               run.ema.shadow.items()}  # fmt: skip
    other.set_state_dict(rounded)
    other.eval()
    with paddle.no_grad():
        want = other(paddle.linspace(-1, 1, 10).reshape([2, 5])).numpy()
    with run.ema.applied():
        np.testing.assert_array_equal(run.answer(), want)
        assert (want != plain).any()
    np.testing.assert_array_equal(run.answer(), plain)
    assert_same(run.arrays(), live)


def test_the_average_follows_the_masters():
    run = Run(optim.Momentum, 0)
    weight = run.model.fc1.weight
    want = weight.astype("float32").numpy().astype(np.float64)
    for step in range(5):
        run.step(step)
        want = 0.9 * want + 0.1 * run.optimizer._master_weights[weight.name].numpy()
    np.testing.assert_allclose(run.ema.shadow["fc1.weight"].numpy(), want, rtol=1e-6, atol=1e-7)


def test_weights_reach_a_model_whose_state_dict_gives_copies(tmp_path):
    one, other = Run(optim.AdamW, 2), Run(optim.AdamW, 0, seed=3)
    saved = Checkpoints(tmp_path).save(2, one.training(), state={})
    hook = sys.modules["paddle.amp.auto_cast"].StateDictHook("float32")
    for layer in other.model.sublayers(include_self=True):
        layer.register_state_dict_hook(hook)
    copy_into(other.model.state_dict(use_hook=False), read(saved / MODEL), saved)
    np.testing.assert_array_equal(other.answer(), one.answer())
    assert other.model.fc1.weight.dtype == paddle.bfloat16

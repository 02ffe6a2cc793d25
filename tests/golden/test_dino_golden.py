"""DINO's head, loss and interpolation, and whole steps of its training, against the official code."""

import filling
import numpy as np
import paddle
import pytest

import ppcore.weights
from ppcore.config import load as load_config
from ppcore.config import roles
from ppcore.config.durations import Duration, Plan
from ppcore.engine.distributed import World
from ppcore.engine.precision import Precision
from ppcore.engine.task import Run
from ppcore.engine.update import run_step
from ppssl import DINO, DINOHead, DINOLoss, LinspaceCosine
from ppssl.dino_vit import resampled_positions
from ppssl.dino_weights import network_maps

HEAD = network_maps()["dino"]
VARIANTS = {
    "norm_last": {},
    "free_g": {"train_last_norm": True},
    "bn_train": {"batch_norm": True},
    "one_layer": {"num_layers": 1},
}


class _Headed(paddle.nn.Layer):
    """A head under the name that layouts know it by."""

    def __init__(self, head):
        super().__init__()
        self.head = head


def theirs(head, arrays):
    """A head's arrays by our names as the reference has them."""
    stored = HEAD.from_paddle({f"head.{name}": array for name, array in arrays.items()}, _Headed(head))
    return {name.removeprefix("head."): array for name, array in stored.items()}


def drawn(manifest, case):
    return filling.weights({"weights": manifest["weights"][case]})


@pytest.mark.filterwarnings("ignore:When training, we now always track")
@pytest.mark.parametrize("path", filling.files("ssl_dino_head"))
@pytest.mark.parametrize("case", VARIANTS)
def test_head(path, case):
    manifest, arrays = filling.load(path)
    size = manifest["config"]
    head = DINOHead(size["dim"], size["out"], hidden_dim=size["hidden"], bottleneck_dim=size["bott"], **VARIANTS[case])
    own = {f"head.{name}": array for name, array in drawn(manifest, case).items()}
    own |= {f"head.{n}": a for n, a in theirs(head, {n: p.numpy() for n, p in head.state_dict().items()}).items()
            if f"head.{n}" not in own}  # fmt: skip
    state = HEAD.to_paddle(own, _Headed(head))
    head.set_state_dict({name.removeprefix("head."): paddle.to_tensor(array) for name, array in state.items()})
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    x, r = (rng.standard_normal((size["n"], n)).astype(np.float32) for n in (size["dim"], size["out"]))
    x = paddle.to_tensor(x, stop_gradient=False)
    bottleneck = head.mlp(x)
    out = head(x)
    (out * paddle.to_tensor(r)).sum().backward()
    gaps = filling.Gaps()
    for name, value in (("bottleneck", bottleneck), ("out", out)):
        gaps.add(name, filling.gap(value.numpy(), arrays[f"{case}/{name}"]), 5e-6)
    gaps.add("grad_x", filling.gap(x.grad.numpy(), arrays[f"{case}/grad_x"]), 1e-5)
    gradients = {name: p.grad.numpy() for name, p in head.named_parameters() if p.grad is not None}
    wanted = {n.removeprefix(f"{case}/grad/") for n in arrays if n.startswith(f"{case}/grad/") and "_f64" not in n}
    got = theirs(head, gradients)
    if case == "bn_train":  # taken out by the batch norm behind them: their gradients are rounding
        got = {name: value for name, value in got.items() if name not in ("mlp.0.bias", "mlp.3.bias")}
    assert set(got) == wanted
    for name, value in got.items():
        gaps.add(name, filling.gap(value, arrays[f"{case}/grad/{name}"]), 1e-5)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_dino_loss"))
def test_loss_and_centre(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    criterion = DINOLoss(
        config["out"], student_temperature=config["student_temp"], center_momentum=config["center_momentum"]
    )
    gaps = filling.Gaps()
    for step, epoch in enumerate(arrays["epoch"]):
        student = paddle.to_tensor(arrays["student"][step], stop_gradient=False)
        teacher = paddle.to_tensor(arrays["teacher"][step])
        targets = criterion.targets(teacher, float(arrays["teacher_temp"][epoch]))
        loss = criterion(student, targets)
        loss.backward()
        criterion.update_center(teacher.mean(axis=0, keepdim=True))
        entropy = -(targets * targets.log()).sum(axis=-1).mean()
        gaps.add(f"loss {step}", filling.relative([float(loss)], arrays["loss"][step : step + 1]), 5e-6)
        gaps.add(f"centre {step}", filling.gap(criterion.center.numpy()[0], arrays["center"][step]), 5e-6)
        gaps.add(f"gradient {step}", filling.gap(student.grad.numpy(), arrays["grad_student"][step]), 5e-6)
        gaps.add(f"entropy {step}", abs(float(entropy) - arrays["teacher_prob_entropy"][step]), 5e-6)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_posembed_dino"))
def test_position_embedding(path):
    """By the factor inside the network; by size is another table."""
    _, arrays = filling.load(path)
    gaps = filling.Gaps()
    cases = sorted({name.rpartition("/")[0] for name in arrays})
    for case in cases:
        grid, patch, size = (text.lstrip("gp") for text in case.replace("_to_", "_").split("_"))
        new = tuple(int(side) // int(patch) for side in size.split("x"))
        table = paddle.to_tensor(arrays[f"{case}/pe"])
        ours = resampled_positions(table, (int(grid), int(grid)), new).numpy()
        gaps.add(case, filling.gap(ours, arrays[f"{case}/dino"]), 1e-5)
        assert filling.gap(ours, arrays[f"{case}/size_bicubic"]) > 5e-2
    assert len(cases) == 5
    gaps.check()


CONFIG = """
Global: {{output_dir: runs/none, duration: {{epochs: {epochs}.0}}}}
Arch:
  name: ppssl.DINOVisionTransformer
  img_size: {img}
  patch_size: {patch}
  embed_dim: {d}
  depth: {depth}
  num_heads: {heads}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppssl.LinspaceCosine, base_lr: {lr}, final: {min_lr}, warmup: {{epochs: {warmup_epochs}.0}}}}
  weight_decay: {wd}
  weight_decay_schedule: {{name: ppssl.LinspaceCosine, base_lr: {wd}, final: {wd_end}}}
  no_weight_decay: [1d]
DataLoader: {{Train: {{dataset: {{name: ppcore.data.Digits}}, batch_size: {B}}}}}
"""


def task_of(config, tmp_path):
    """The task of the trajectory, as a configuration would make it."""
    file = tmp_path / "dino.yaml"
    file.write_text(CONFIG.format(**config))
    plan = Plan(config["spe"], config["B"], config["epochs"] * config["spe"])
    checked = load_config(file)
    run = Run(checked, plan, World(0, 1, "cpu"), Precision(checked.AMP, "cpu"))
    return DINO(
        run=run, features=config["d"], out_dim=config["out"],
        momentum=LinspaceCosine(base_lr=config["momentum"], final=1.0),
        head={"hidden_dim": config["hidden"], "bottleneck_dim": config["bott"],
              "train_last_norm": not config["norm_last"]},
        global_views=["global"], temperature=config["t"], warmup_temperature=config["warm_t"],
        temperature_warmup=Duration(epochs=float(config["warm_t_ep"])), student_temperature=config["student_temp"],
        center_momentum=config["center_momentum"], freeze_last_layer=Duration(epochs=float(config["freeze"])),
        clip=config["clip"],
    )  # fmt: skip


@pytest.fixture
def allowed():
    roles.allow("ppssl")
    yield
    roles.disallow_all()


@pytest.mark.parametrize("path", filling.files("ssl_dino_traj"))
def test_steps(path, tmp_path, allowed):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    task = task_of(config, tmp_path)
    drawn = filling.weights(manifest)
    for name, _, _ in manifest["weights"].get("fixed", []):
        drawn.setdefault(name, np.ones([config["out"], 1], np.float32))
    drawn["head.last_layer.weight_g"] = drawn.get("head.last_layer.weight_g", np.ones([config["out"], 1], np.float32))
    for network in (task.student, task.teacher):
        state = ppcore.weights.convert(drawn, source="dino", model=network)
        network.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    names = manifest["param_names"]

    def norms(network, gradient=False):
        found = {
            n: (p.grad if gradient else p).numpy()
            for n, p in network.named_parameters()
            if not gradient or p.grad is not None
        }
        found = network.weight_maps()["dino"].from_paddle(found, network)
        return np.array([np.linalg.norm(found[n].astype(np.float64)) if n in found else 0.0 for n in names])

    steps, batch = config["epochs"] * config["spe"], config["B"]
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    large = rng.standard_normal((steps, 2, batch, 3, config["img"], config["img"])).astype(np.float32)
    small = rng.standard_normal((steps, config["nlocal"], batch, 3, config["local"], config["local"])).astype(
        np.float32
    )
    optimizers, before = task.optimizers(), []
    limit = optimizers["model"].before_update

    def record(step):
        before.append(norms(task.student, gradient=True))
        limit(step)

    object.__setattr__(optimizers["model"], "before_update", record)
    gaps = filling.Gaps()
    views = [paddle.to_tensor(view) for view in (*large[0], *small[0])]
    gaps.add("first teacher", filling.gap(task.teacher(views[:2]).numpy(), arrays["first_teacher_out"]), 1e-5)
    gaps.add("first student", filling.gap(task.student(views).numpy(), arrays["first_student_out"]), 1e-5)
    for step in range(steps):
        rate = optimizers["model"].prepare(step)
        assert rate == pytest.approx(arrays["lr"][step], rel=1e-12, abs=1e-15)
        assert optimizers["model"].decay(step) == pytest.approx(arrays["weight_decay"][step], rel=1e-12)
        assert task.momentum(step) == pytest.approx(arrays["teacher_momentum"][step], rel=1e-12)
        given = {
            "global": paddle.to_tensor(large[step].swapaxes(0, 1)),
            "local": paddle.to_tensor(small[step].swapaxes(0, 1)),
        }
        outcome = run_step(
            task, optimizers, iter([given]), step, accumulate=1, world=task.run.world,
            precision=task.run.precision, report=False,
        )  # fmt: skip
        gaps.add(f"loss {step}", abs(float(outcome.losses[0]) / arrays["loss"][step] - 1), 2e-5)
        gaps.add(f"centre {step}", filling.gap(task.criterion.center.numpy()[0], arrays["center"][step]), 1e-5)
        want = arrays["grad_norms_before_clip"][step]
        kept = want > 1e-6 * want.max()
        gaps.add(f"gradients {step}", float(np.abs(before[step][kept] / want[kept] - 1).max()), 2e-4)
        for name, network in (("student", task.student), ("teacher", task.teacher)):
            settled = np.array(["qkv.bias" not in n for n in names])
            ours, wanted = norms(network)[settled], arrays[f"{name}_norms"][step][settled]
            gaps.add(f"{name} norms {step}", float(np.abs(ours - wanted).max() / wanted.max()), 1e-5)
    for name, network in (("student", task.student), ("teacher", task.teacher)):
        final = network.weight_maps()["dino"].from_paddle(
            {n: p.numpy() for n, p in network.state_dict().items()}, network
        )
        for key in (key for key in final if not key.endswith("qkv.bias")):
            gaps.add(f"{name} {key}", filling.gap(final[key], arrays[f"{name}/{key}"]), 1e-5)
    gaps.check()

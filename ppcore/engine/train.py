"""Training: one flat loop for every paper, read from top to bottom.

A paper brings a model, a criterion and configurations; this file knows none of them. All
randomness of a step is a function of (seed, step, rank), so a resumed run repeats the
interrupted one bit for bit on a CPU.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppcore import checkpoint, components, optim, units
from ppcore.config import Config
from ppcore.durations import Plan
from ppcore.ema import EMA
from ppcore.engine import build, distributed
from ppcore.engine.evaluate import evaluate_weights
from ppcore.engine.events import Events, clock, environment, log, setup_logging, write_json
from ppcore.engine.graph import add_graph
from ppcore.engine.precision import Precision
from ppcore.engine.runs import claim, described, lock, protocol, unlock
from ppcore.errors import ConfigError, PPError


@dataclass
class Result:
    """What a finished run leaves: its folder, its last step and its best evaluation."""

    folder: Path
    step: int
    best: dict[str, Any] | None


class Diverged(PPError):
    """The loss is no longer a number."""


def train(config: Config) -> Result:
    """Trains as configured, resuming what the run's folder holds.

    Raises:
        PPError: bad configuration, data, weights or checkpoint, or a loss that is not finite.
    """
    # ---- processes, folder, log -------------------------------------------------------------
    if config.Loss is None or config.Optimizer is None:
        raise ConfigError("training needs the sections Loss and Optimizer")
    settings, recipe = config.Global, config.Optimizer
    folder = Path(settings.output_dir)
    world = distributed.start(settings.device)
    if world.is_main:
        claim(folder, config)
        lock(folder)
        setup_logging(folder)

    # ---- data -------------------------------------------------------------------------------
    train_part = build.section(config, "Train")
    eval_part = config.DataLoader.Eval
    classes = build.number_of_classes(config)
    judged_by = units.of(build.best_metric(config))
    train_images = build.dataset(train_part, classes)
    eval_images = build.dataset(eval_part, classes) if eval_part else None
    batch_size = train_part.batch_size
    steps_per_epoch = max(len(train_images) // batch_size, 1)
    plan = Plan(steps_per_epoch, batch_size)
    plan = Plan(steps_per_epoch, batch_size, settings.length().in_steps(plan))
    if plan.total_steps < 1:
        raise ConfigError("Global.duration is shorter than one step")

    # ---- model, criterion, optimiser --------------------------------------------------------
    paddle.seed(settings.seed)
    model = build.model(config)
    schedule = components.build(recipe.lr).bind(plan)
    node = recipe.component()
    factory = components.resolve(node.pop("name"), "Optimizer")
    optimizer = optim.make(
        model, factory, weight_decay=recipe.weight_decay, no_weight_decay=recipe.no_weight_decay, **node
    )
    precision = Precision(config.AMP, world.device)
    precision.decorate(model, optimizer)
    criterion = build.criterion(config, precision)
    trainable = [p for p in model.parameters() if not p.stop_gradient]
    # Made after decorate() but float32 all the same; see EMA.
    ema = EMA(model, config.EMA.decay) if config.EMA else None

    # ---- where to start ---------------------------------------------------------------------
    # 1. the newest undamaged checkpoint in the run's own folder (Global.resume: auto)
    # 2. Global.pretrained, loaded by build.model above
    # 3. fresh weights
    checkpoints = checkpoint.Checkpoints(folder, settings.keep_checkpoints)
    step, best = 0, None
    resumed_from = checkpoints.newest()
    if resumed_from is not None:
        state = checkpoint.restore(resumed_from, model=model, optimizer=optimizer, ema=ema)
        step, best = state["step"], state["best"]
        precision.restore(state["scaler"])
    network = world.wrap(model)
    if world.is_main:
        (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        write_json(folder / "env.json", environment(world.size, world.device))
    parameters = sum(int(np.prod(p.shape)) for p in model.parameters())
    log.info(
        "%s: %s, %s parameters, %d training images, batch %d, %d steps (%.1f epochs), device %s x %d%s",
        folder, config.Arch["name"], f"{parameters:,}", len(train_images), batch_size, plan.total_steps,
        plan.epoch_of(plan.total_steps), world.device, world.size,
        f", resumed from {resumed_from.name}" if resumed_from else "",
    )  # fmt: skip
    if step >= plan.total_steps:
        log.info("this run is finished; choose another Global.output_dir or a longer Global.duration to train more")
        return Result(folder, step, best)

    # ---- the loop ---------------------------------------------------------------------------
    loader = build.train_loader(config, train_images, world, step, plan.total_steps, classes)
    events = Events(folder, active=world.is_main, total_steps=plan.total_steps, visualdl=settings.visualdl)
    events.record(
        "start", step, params=parameters, train_images=len(train_images), steps=plan.total_steps,
        eval_images=len(eval_images) if eval_images else 0, epochs=plan.epoch_of(plan.total_steps),
        batch_size=batch_size, classes=train_images.classes, protocol=protocol(config),
        metric=described(config),
    )  # fmt: skip
    every = {name: max(getattr(settings, f"{name}_every").in_steps(plan), 1) for name in ("eval", "save", "log")}
    micro_batches = recipe.accumulate
    batches = iter(loader)
    began = window_began = time.monotonic()
    window_images = skipped = 0
    if not settings.eval_mode_training:
        network.train()
    else:
        network.eval()  # DeiT's fine-tuning keeps dropout and stochastic depth off
    try:
        while step < plan.total_steps:
            lr = schedule(step)
            optimizer.set_lr(lr)
            paddle.seed(step_seed(settings.seed, step, world.rank))
            losses = []
            for part in range(micro_batches):
                batch = next(batches)
                if step == 0 and part == 0:
                    events.images("train_batch", batch["image"], step)
                inputs = build.tensors(batch)
                # Gradients are averaged over processes once a step, with the last micro-batch.
                quiet = world.size > 1 and part < micro_batches - 1
                loss = _backward(network, inputs, criterion, precision, micro_batches, synchronise=not quiet)
                losses.append(loss)
                window_images += len(batch["image"]) * world.size
            skipped = loader.skipped
            grad_norm = _update(optimizer, precision, trainable, recipe.clip_norm, (step + 1) % every["log"] == 0)
            if ema is not None:
                ema.update(getattr(optimizer, "_master_weights", None))
            step += 1
            last = step == plan.total_steps
            due = {name for name, interval in every.items() if last or step % interval == 0}

            if due:  # reading the loss waits for the device, so not every step; but before anything is saved
                mean_loss = world.sum(np.array([float(sum(losses))]))[0] / world.size
                if not np.isfinite(mean_loss) or not all_finite(trainable):
                    raise Diverged(
                        f"training diverged at step {step} (loss {mean_loss}, lr {lr:.3g}): lower Optimizer.lr "
                        f"or set Optimizer.clip_norm; the last good state is in {checkpoints.folder}"
                    )
            if "log" in due:
                now = time.monotonic()
                rate = window_images / (now - window_began)
                epoch = plan.epoch_of(step)
                events.record(
                    "train", step, epoch=epoch, loss=float(mean_loss), lr=lr, grad_norm=grad_norm,
                    images_per_second=rate, skipped=skipped,
                )  # fmt: skip
                events.progress(step, epoch=epoch, loss=float(mean_loss), lr=lr, rate=rate)
                window_began, window_images = now, 0

            improved = False
            if eval_images is not None and "eval" in due:
                paused = time.monotonic()
                for name, found in evaluate_weights(config, model, ema, eval_images, world, precision).items():
                    events.record("eval", step, epoch=plan.epoch_of(step), weights=name, **found)
                    if judged_by.key not in found:
                        raise ConfigError(f"Global.best_metric: the evaluation gives no '{judged_by.key}'")
                    score = found[judged_by.key]
                    log.info("step %d evaluation (%s): %s", step, name, _summary(found))
                    if judged_by.key not in (best or {}) or judged_by.better(score, best[judged_by.key]):
                        best = {"step": step, judged_by.key: score, "weights": name}
                        improved = True
                window_began += time.monotonic() - paused
            if "save" in due or improved:
                paused = time.monotonic()
                if world.is_main:
                    checkpoints.save(
                        step, model=model, optimizer=optimizer, ema=ema, best=improved,
                        state={"best": best, "scaler": precision.state()},
                    )  # fmt: skip
                world.barrier()
                window_began += time.monotonic() - paused
        if settings.visualdl_graph:
            add_graph(events, model, inputs["image"])
        events.record("end", step, seconds=time.monotonic() - began, best=best)
        log.info("done in %s; best %s", clock(time.monotonic() - began), _summary(best or {}))
    finally:
        events.close()
        batches.close()  # ends the loader's workers
        if world.is_main:
            unlock(folder)
    return Result(folder, step, best)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of Paddle's generator for one update of one process (dropout, stochastic depth)."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def all_finite(parameters: list) -> bool:
    """Whether every entry of every tensor is a number (a loss says nothing of the update after it)."""
    return bool(paddle.isfinite(paddle.add_n([p.astype("float32").sum() for p in parameters])))


def _backward(network, inputs, criterion, precision, micro_batches: int, *, synchronise: bool) -> paddle.Tensor:
    """Forward and backward of one micro-batch; returns its share of the step's loss."""
    if not synchronise:
        with network.no_sync():
            return _backward(network, inputs, criterion, precision, micro_batches, synchronise=True)
    outputs = precision.forward(network, inputs["image"])
    loss = criterion(outputs, inputs) / micro_batches
    precision.scaler.scale(loss).backward()
    return loss.detach()


def _update(optimizer, precision, trainable: list, clip_norm: float | None, report: bool) -> float | None:
    """One optimiser update; returns the gradient norm before clipping when it is to be reported."""
    norm = None
    precision.scaler.unscale_(optimizer)
    if clip_norm is not None or report:
        norm = optim.clip_grad_norm(trainable, clip_norm)
    precision.scaler.step(optimizer)
    precision.scaler.update()
    optimizer.clear_grad()
    return float(norm) if report else None


def _summary(found: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())

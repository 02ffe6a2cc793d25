"""Training: one flat loop for every paper, read from top to bottom.

A paper brings a model, a criterion and configurations; this file knows none of them. All
randomness of a step is a function of (seed, step, rank), so a resumed run repeats the
interrupted one bit for bit on a CPU.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppcore import optim
from ppcore.config import Config, components
from ppcore.ema import EMA
from ppcore.engine import build, distributed, preflight, records, run_folder
from ppcore.engine.evaluate import Interrupted, evaluate_weights, headline_weights
from ppcore.engine.graph import add_graph
from ppcore.engine.logger import Events, clock, environment, log, setup_logging
from ppcore.engine.pace import Pace
from ppcore.engine.precision import Precision
from ppcore.engine.stopping import StopRequest
from ppcore.engine.update import all_finite, backward, step_seed, update
from ppcore.errors import ConfigError, PPError, Stopped
from ppcore.io import write_atomically, write_json
from ppcore.weights.checkpoints import NAMES, Checkpoints, restore, step_of


@dataclass
class Result:
    """What a finished run leaves: its folder, its last step and its best evaluation."""

    folder: Path
    step: int
    best: dict[str, Any] | None


class Diverged(PPError):
    """The loss is no longer a number, or far beyond what it was."""


def train(config: Config) -> Result:
    """Trains as configured, resuming what the run's folder holds.

    Raises:
        PPError: bad configuration, data, weights or checkpoint, or a loss that is not finite.
        Stopped: by SIGINT or SIGTERM, with a checkpoint saved.
    """
    if config.Loss is None or config.Optimizer is None:
        raise ConfigError("training needs the sections Loss and Optimizer")
    world = distributed.start(config.Global.device, tf32=config.Global.tf32)
    folder = Path(config.Global.output_dir)
    if not world.is_main:
        log.setLevel("WARNING")  # what the main process says is true for all
        return _train(config, world, folder)
    with run_folder.hold(folder):
        run_folder.check_resumable(folder, config)
        setup_logging(folder)
        return _train(config, world, folder)


def _train(config: Config, world: distributed.World, folder: Path) -> Result:
    settings, recipe = config.Global, config.Optimizer

    # ---- data -------------------------------------------------------------------------------
    log.info("%s: reading the data and building %s", folder, config.Arch["name"])  # may take minutes
    train_part = build.section(config, "Train")
    eval_part = config.DataLoader.Eval
    classes = build.number_of_classes(config)
    specs = build.metric_specs(config)
    judged_by = specs[0]
    train_images = build.dataset(train_part, classes, where="DataLoader.Train")
    names = train_images.classes
    eval_images = build.dataset(eval_part, classes, names, "DataLoader.Eval") if eval_part else None
    batch_size = train_part.batch_size
    plan = build.plan(config, len(train_images), settings.length())

    # ---- model, criterion, optimiser --------------------------------------------------------
    paddle.seed(settings.seed)
    model = build.model(config)
    schedule = build.schedule(config, plan)
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
    saved_states = Checkpoints(folder, settings.keep_checkpoints)
    step, best, result, evaluated = 0, None, "ema" if config.EMA and config.EMA.headline == "ema" else "model", False
    resumed_from = saved_states.newest()
    if resumed_from is not None:
        old = build.plan(config, len(train_images), run_folder.saved_length(folder))
        step = step_of(resumed_from)
        run_folder.check_extension(folder, min(step, old.total_steps), build.schedule(config, old), schedule)
        state = restore(resumed_from, model=model, optimizer=optimizer, ema=ema)
        best, result, evaluated = state["best"], state["weights"], state["evaluated"]
        precision.restore(state["scaler"])
    finished = step >= plan.total_steps and (evaluated or eval_images is None)
    if not finished:
        preflight.check(config, model, train_images, eval_images, world, precision, folder)
    network = world.wrap(model)
    if world.is_main:
        write_atomically(folder / "config.yaml", lambda temp: temp.write_text(config.to_yaml(), encoding="utf-8"))
        write_json(folder / "env.json", environment(world.size, world.device))
        if resumed_from and not finished:
            records.rewind(folder / records.NAME, step, evaluated)
            saved_states.point_to_best(best)
    parameters = sum(int(np.prod(p.shape)) for p in model.parameters())
    log.info(
        "%s: %s, %s parameters, %d training images, batch %d, %d steps (%.1f epochs), device %s x %d%s",
        folder, config.Arch["name"], f"{parameters:,}", len(train_images), batch_size, plan.total_steps,
        plan.epoch_of(plan.total_steps), world.device, world.size,
        f", resumed from {resumed_from.name}" if resumed_from else "",
    )  # fmt: skip
    if finished:
        longer = build.schedule(config, replace(plan, total_steps=2 * plan.total_steps))
        log.info("this run is finished; %s", run_folder.how_to_train_longer(folder, step, schedule, longer))
        return Result(folder, step, best)

    # ---- the loop ---------------------------------------------------------------------------
    loader = build.train_loader(config, train_images, world, step, plan.total_steps, classes)
    events = Events(folder, active=world.is_main, total_steps=plan.total_steps, visualdl=settings.visualdl)
    events.record(
        "start", step, params=parameters, train_images=len(train_images), steps=plan.total_steps,
        eval_images=len(eval_images) if eval_images else 0, epochs=plan.epoch_of(plan.total_steps),
        batch_size=batch_size, classes=names, protocol=run_folder.protocol(config, precision.describe()), metric=run_folder.described(config),
        metrics=[asdict(spec) for spec in specs],
    )  # fmt: skip
    every = {name: max(getattr(settings, f"{name}_every").in_steps(plan), 1) for name in ("eval", "save", "log")}

    def due(name: str) -> bool:
        return step == plan.total_steps or step % every[name] == 0

    pace, stop = Pace(step, plan.total_steps), StopRequest()
    batches = iter(loader)
    first_loss = None
    # A run that was killed while it evaluated its newest checkpoint evaluates it now.
    saved, pending = step, eval_images is not None and step > 0 and due("eval") and not evaluated
    network.train() if not settings.eval_mode_training else network.eval()  # DeiT fine-tunes without dropout, drop path
    try:
        stop.listen()
        while pending or step < plan.total_steps:
            if not pending:
                lr = schedule(step)
                optimizer.set_lr(lr)
                paddle.seed(step_seed(settings.seed, step, world.rank))
                losses, images = [], 0
                for part in range(recipe.accumulate):
                    batch = next(batches)
                    if step == 0 and part == 0:
                        events.images("train_batch", batch["image"], step)
                    inputs = build.tensors(batch)
                    # Gradients are averaged over processes once a step, with the last micro-batch.
                    quiet = world.size > 1 and part < recipe.accumulate - 1
                    loss = backward(network, inputs, criterion, precision, recipe.accumulate, synchronise=not quiet)
                    losses.append(loss)
                    images += len(batch["image"]) * world.size
                report = (step + 1) % every["log"] == 0
                grad_norm = update(optimizer, precision, trainable, recipe.clip_norm, report)
                if ema is not None:
                    ema.update(getattr(optimizer, "_master_weights", None))
                step += 1
                pace.add(images)
                stopping = stop.agreed(world, step)
                pending = eval_images is not None and due("eval") and not stopping

                if stopping or pending or due("log") or due("save"):
                    # Reading the loss waits for the device, so not every step; but before anything is saved.
                    loss = float(world.sum(np.array([float(sum(losses))]))[0] / world.size)
                    first_loss = loss if first_loss is None else first_loss
                    if not np.isfinite(loss) or loss > 1e6 * max(first_loss, 1.0) or not all_finite(trainable):
                        raise Diverged(
                            f"training diverged at step {step} (loss {loss:.4g}, lr {lr:.3g}): lower Optimizer.lr "
                            f"or set Optimizer.clip_norm; the last good state is in {saved_states.folder}"
                        )
                if due("log"):
                    events.record(
                        "train", step, epoch=plan.epoch_of(step), loss=loss, lr=lr, grad_norm=grad_norm,
                        images_per_second=pace.window(), skipped=loader.skipped,
                    )  # fmt: skip
                if pace.due() or due("log"):
                    events.progress(step, epoch=plan.epoch_of(step), loss=float(sum(losses)), lr=lr, pace=pace)
                if stopping or pending or due("save"):  # saved before it is evaluated
                    with pace.paused():
                        state = {"best": best, "weights": result, "scaler": precision.state(), "classes": names}
                        world.share_buffers(model, ema)
                        if world.is_main:
                            saved_states.save(step, model=model, optimizer=optimizer, ema=ema, state=state)
                        world.barrier()
                    saved = step
                if stopping:
                    raise Stopped(
                        stopping, f"stopped at step {step} of {plan.total_steps}, which is saved; {_again(world)}"
                    )

            if pending:
                with pace.paused():
                    found = evaluate_weights(
                        config, model, ema, eval_images, world, precision, lambda: world.size == 1 and stop.number > 0
                    )
                result = headline_weights(config, judged_by, found)
                for name, numbers in found.items():
                    events.record(
                        "eval", step, epoch=plan.epoch_of(step), weights=name, headline=name == result, **numbers
                    )
                    log.info("step %d evaluation (%s): %s", step, NAMES[name], _summary(numbers))
                score = found[result][judged_by.key]
                if judged_by.better(score, (best or {}).get(judged_by.key)):
                    best = {"step": step, judged_by.key: score, "weights": result}
                if world.is_main:
                    saved_states.record_evaluation(step, result, best)
                pending = False
        if settings.visualdl_graph and saved > pace.first:
            add_graph(events, model, inputs["image"])
        events.record("end", step, seconds=pace.seconds, best=best)
        log.info("done in %s; %s", clock(pace.seconds), f"best {_summary(best)}" if best else "nothing was evaluated")
    except Interrupted:
        text = f"stopped while step {step} was evaluated, which is saved"
        raise Stopped(stop.number, f"{text}; {_again(world)}") from None
    finally:
        stop.close()
        events.close()
        batches.close()  # ends the loader's workers
    return Result(folder, step, best)


def _again(world: distributed.World) -> str:
    """How to resume."""
    command = environment(world.size, world.device)["command"]
    return f"go on with: {command}" if world.size == 1 else f"go on with the same launcher and: {command}"


def _summary(found: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())

"""Training: one flat loop for every paper, read from top to bottom.

A method is a `Task` (`ppcore.engine.task`); this file knows none of them. All
randomness of a step is a function of (seed, step, rank), so a resumed run repeats the
interrupted one bit for bit on a CPU.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppcore.config import Config, components
from ppcore.ema import EMA
from ppcore.engine import build, distributed, evaluators, preflight, records, run_folder
from ppcore.engine.evaluate import evaluate_weights, headline_weights
from ppcore.engine.evaluators import Evaluation, Interrupted
from ppcore.engine.feed import Feed
from ppcore.engine.graph import add_graph
from ppcore.engine.logger import Events, clock, environment, log, setup_logging
from ppcore.engine.pace import Pace
from ppcore.engine.precision import Precision
from ppcore.engine.recompute import recompute_blocks
from ppcore.engine.run_provenance import record_start
from ppcore.engine.stopping import StopRequest
from ppcore.engine.task import Run, Supervised
from ppcore.engine.update import all_finite, run_step, step_seed
from ppcore.errors import ConfigError, PPError, Stopped
from ppcore.io import write_atomically, write_json
from ppcore.layers.sync_batch_norm import synchronize_batch_norms
from ppcore.model import parameter_count
from ppcore.weights.checkpoints import NAMES, Checkpoints, restore, step_of
from ppcore.weights.training_state import TrainingState


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
    if config.Optimizer is None or (config.Task is None and config.Loss is None):
        raise ConfigError("training needs the sections Loss and Optimizer (or Task and Optimizer)")
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
    settings = config.Global

    # ---- data -------------------------------------------------------------------------------
    log.info("%s: reading the data and building %s", folder, config.Arch["name"])  # may take minutes
    train_part = build.section(config, "Train")
    eval_part = config.DataLoader.Eval
    classes = build.number_of_classes(config)
    train_images = build.dataset(train_part, classes, where="DataLoader.Train")
    names = train_images.classes
    eval_images = build.dataset(eval_part, classes, names, "DataLoader.Eval") if eval_part else None
    beside = build.beside(config, train_images, classes)
    plan = build.plan(config, len(train_images), settings.length())
    build.warn_of_long_warmup(config, plan)

    # ---- task: networks, losses, optimizers, evaluators ---------------------------------------
    paddle.seed(settings.seed)
    precision = Precision(config.AMP, world.device)
    run = Run(config, plan, world, precision)
    task = components.build(config.Task, run=run) if config.Task else Supervised(run=run)
    optimizers = task.optimizers()
    precision.decorate(task.networks, [optimizer.paddle for optimizer in optimizers.values()])
    if settings.recompute:
        log.info("%d blocks are computed again for their gradients", recompute_blocks(task.networks))
    if settings.sync_batch_norm and world.size > 1:
        log.info("%d batch norms are of all processes", synchronize_batch_norms(task.networks))
    # Made after decorate() but float32 all the same; see EMA.
    ema = EMA(task.model, config.EMA.decay) if config.EMA else None
    training = TrainingState(task.model, task.networks, {n: o.paddle for n, o in optimizers.items()}, ema)
    trainable = [p for p in task.networks.parameters() if not p.stop_gradient]
    measures = task.evaluators()
    specs = evaluators.specs_of(measures, settings.best_metric)

    # ---- where to start ---------------------------------------------------------------------
    # 1. the newest undamaged checkpoint in the run's own folder (Global.resume: auto)
    # 2. Global.pretrained, loaded by Run.model
    # 3. fresh weights
    saved_steps = Checkpoints(folder, settings.keep_checkpoints)
    step, best, result, evaluated = 0, None, "ema" if config.EMA and config.EMA.headline == "ema" else "model", False
    resumed_from = saved_steps.newest()
    scheduled = build.schedules(config, plan)
    if resumed_from is not None:
        old = build.plan(config, len(train_images), run_folder.saved_length(folder))
        step = step_of(resumed_from)
        run_folder.check_extension(folder, min(step, old.total_steps), build.schedules(config, old), scheduled)
        state = restore(resumed_from, training)
        best, result, evaluated = state["best"], state["weights"], state["evaluated"]
        precision.restore(state["scaler"])
    world.check_alike(step, f"the step to start from (all machines must see the same {folder})")
    finished = step >= plan.total_steps and (evaluated or not measures)
    if not finished:
        every_set = {"Train": train_images, "Eval": eval_images, **{f"Beside.{n}": one for n, one in beside.items()}}
        preflight.check(config, task.model, every_set, world, precision, folder)
    world.share(task.networks.state_dict(use_hook=False).values())
    if world.is_main:
        write_atomically(folder / "config.yaml", lambda temp: temp.write_text(config.to_yaml(), encoding="utf-8"))
        write_json(folder / "env.json", environment(world.size, world.device, config.paths))
        if resumed_from is None:
            record_start(config, folder)
        if resumed_from and not finished:
            records.rewind(folder / records.NAME, step, evaluated)
            saved_steps.point_to_best(best)
    parameters = parameter_count(task.networks)
    log.info(
        "%s: %s, %s parameters, %d training images, batch %d, %d steps (%.1f epochs), device %s x %d%s",
        folder, config.Arch["name"], f"{parameters:,}", len(train_images), plan.batch_size, plan.total_steps,
        plan.epoch_of(plan.total_steps), world.device, world.size,
        f", resumed from {resumed_from.name}" if resumed_from else "",
    )  # fmt: skip
    if finished:
        longer = build.schedules(config, replace(plan, total_steps=2 * plan.total_steps))
        log.info("this run is finished; %s", run_folder.how_to_train_longer(folder, step, scheduled, longer))
        return Result(folder, step, best)

    # ---- the loop ---------------------------------------------------------------------------
    loader = build.train_loader(config, train_images, beside, world, step, plan.total_steps, classes)
    events = Events(folder, active=world.is_main, total_steps=plan.total_steps, visualdl=settings.visualdl)
    events.record(
        "start", step, params=parameters, train_images=len(train_images), steps=plan.total_steps,
        eval_images=len(eval_images) if eval_images else 0, epochs=plan.epoch_of(plan.total_steps),
        batch_size=plan.batch_size, classes=names, protocol=run_folder.protocol(config, precision.describe()),
        metric=run_folder.described(config.metrics()[0]), metrics=[asdict(spec) for spec in specs],
    )  # fmt: skip
    every = {name: max(getattr(settings, f"{name}_every").in_steps(plan), 1) for name in ("eval", "save", "log")}

    def due(name: str) -> bool:
        return step == plan.total_steps or step % every[name] == 0

    pace, stop = Pace(step, plan.total_steps), StopRequest()
    batches = Feed(loader, world.device)
    first_loss = None
    # A run that was killed while it evaluated its newest checkpoint evaluates it now.
    saved, pending = step, bool(measures) and step > 0 and due("eval") and not evaluated
    # DeiT fine-tunes without dropout, drop path.
    task.networks.train() if not settings.eval_mode_training else task.networks.eval()
    try:
        stop.listen()
        while pending or step < plan.total_steps:
            if not pending:
                rates = {name: optimizer.prepare(step) for name, optimizer in optimizers.items()}
                lr = next(iter(rates.values()))
                paddle.seed(step_seed(settings.seed, step, world.rank))
                outcome = run_step(
                    task, optimizers, batches, step, accumulate=config.accumulate, world=world, precision=precision,
                    report=(step + 1) % every["log"] == 0,
                )  # fmt: skip
                if outcome.images is not None:
                    events.images("train_batch", outcome.images.numpy(), step)
                if ema is not None:
                    ema.update(training.masters())
                step += 1
                pace.add(outcome.samples * world.size)
                stopping = stop.agreed(world, step)
                pending = bool(measures) and due("eval") and not stopping

                if stopping or pending or due("log") or due("save"):
                    # Reading the loss waits for the device, so not every step; but before anything is saved.
                    loss = outcome.loss(world)
                    first_loss = loss if first_loss is None else first_loss
                    if not np.isfinite(loss) or loss > 1e6 * max(first_loss, 1.0) or not all_finite(trainable):
                        raise Diverged(
                            f"training diverged at step {step} (loss {loss:.4g}, lr {lr:.3g}): lower Optimizer.lr "
                            f"or set Optimizer.clip_norm; the last good state is in {saved_steps.folder}"
                        )
                if due("log"):
                    events.record(
                        "train", step, epoch=plan.epoch_of(step), loss=loss, lr=lr, images_per_second=pace.window(),
                        skipped=batches.skipped, **outcome.by_optimizer(rates), **outcome.logged(world),
                    )  # fmt: skip
                if pace.due() or due("log"):
                    events.progress(
                        step, epoch=plan.epoch_of(step), loss=float(sum(outcome.losses)), lr=lr, pace=pace
                    )  # fmt: skip
                if stopping or pending or due("save"):  # saved before it is evaluated
                    with pace.paused():
                        state = {"best": best, "weights": result, "scaler": precision.state(), "classes": names}
                        world.share_buffers(task.networks, ema)
                        if world.is_main:
                            saved_steps.save(step, training, state)
                        world.barrier()
                    saved = step
                if stopping:
                    raise Stopped(
                        stopping, f"stopped at step {step} of {plan.total_steps}, which is saved; {_again(world)}"
                    )

            if pending:
                with pace.paused():
                    evaluation = Evaluation(
                        config, world, precision, eval_images, stop=lambda: world.size == 1 and stop.number > 0
                    )
                    found = evaluate_weights(task.model, ema, measures, evaluation)
                result = headline_weights(config, specs[0], found)
                for name, numbers in found.items():
                    events.record(
                        "eval", step, epoch=plan.epoch_of(step), weights=name, headline=name == result, **numbers
                    )
                    log.info("step %d evaluation (%s): %s", step, NAMES[name], _summary(numbers))
                score = found[result][specs[0].key]
                if specs[0].better(score, (best or {}).get(specs[0].key)):
                    best = {"step": step, specs[0].key: score, "weights": result}
                if world.is_main:
                    saved_steps.record_evaluation(step, result, best)
                pending = False
        if settings.visualdl_graph and saved > pace.first and outcome.image_shape is not None:
            add_graph(events, task.model, outcome.image_shape)
        events.record("end", step, seconds=pace.seconds, best=best)
        log.info("done in %s; %s", clock(pace.seconds), f"best {_summary(best)}" if best else "nothing was evaluated")
    except Interrupted:
        text = f"stopped while step {step} was evaluated, which is saved"
        raise Stopped(stop.number, f"{text}; {_again(world)}") from None
    finally:
        stop.close()
        events.close()
        batches.close()  # ends its thread and the loader's workers
    return Result(folder, step, best)


def _again(world: distributed.World) -> str:
    """How to resume."""
    command = environment(world.size, world.device)["command"]
    return f"go on with: {command}" if world.size == 1 else f"go on with the same launcher and: {command}"


def _summary(found: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())

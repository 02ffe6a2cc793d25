"""The quick trainings of a paper: which can run here, in what order, and which are there already."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ppcore import config, runtime
from ppcore.config import Config
from ppcore.engine.logger import log
from ppcore.engine.run_folder import check_resumable, saved_length
from ppcore.errors import PPError
from ppcore.report import read_run
from ppcore.report.published import PaperTables, Quick
from ppcore.reproduce.jobs import Job, run_all
from ppcore.reproduce.launch import thread_variables, train_command
from ppcore.reproduce.paper_page import PaperPage
from ppcore.weights.checkpoints import Checkpoints


@dataclass(frozen=True)
class QuickRun:
    """One seed of a quick config and its folder; whether it uses another run's weights, and others use its."""

    config: str
    seed: int
    folder: Path
    uses: bool = False
    used: bool = False


def missing_data(needs: str | list[str] | None) -> str | None:
    """Why optional data cannot be used; None when all of it is there or none is needed."""
    names = [needs] if isinstance(needs, str) else needs or []
    folder = os.environ.get("PP_DATA_DIR")
    if names and not folder:
        return f"PP_DATA_DIR is not set (it would hold {' and '.join(names)})"
    missing = [name for name in names if not (Path(folder) / name).exists()]
    return f"PP_DATA_DIR has no {' and no '.join(missing)}" if missing else None


def possible(paper: PaperTables) -> list[Quick]:
    """The quick configs whose data, and that of those they use, is here; the others are logged."""
    kept: dict[str, Quick] = {}
    for item in paper.quick:
        missing = missing_data(item.needs)
        left_out = [used for used in item.uses.values() if used not in kept]
        if left_out and not missing:
            missing = f"it uses {left_out[0]}, which is left out"
        if missing:
            log.info("left out %s: %s", item.config, missing)
        else:
            kept[item.config] = item
    return list(kept.values())


def options(item: Quick, seed: int, output: Path, device: str, items: dict[str, Quick]) -> list[str]:
    """`-o` texts of one seed's training."""
    # The final weights of a run, not those its test images chose.
    used = {
        key: f"{items[name].run_name(items[name].seed_for(seed))}/checkpoints/latest" for key, name in item.uses.items()
    }
    return [
        f"Global.output_dir={output / item.run_name(seed)}",
        f"Global.seed={seed}",
        f"Global.device={device}",
        *(f"{key}={output / name}" for key, name in used.items()),
    ]


def train(page: PaperPage, output: Path, device: str) -> list[QuickRun]:
    """Trains the quick configs that can run here; a finished run of the same configuration is kept.

    Args:
        page: the paper.
        output: folder of the runs; the jobs' logs go to `logs/` in it.
        device: `auto`, `cpu` or `gpu`.

    Returns:
        The finished runs in the paper's order.

    Raises:
        PPError: a config is wrong, a folder holds a run of another configuration (both before
            anything is trained), or a training failed.
    """
    chosen = {item.config: item for item in possible(page.tables)}
    used = {name for item in chosen.values() for name in item.uses.values()}
    jobs, runs = [], []
    for item in chosen.values():
        for seed in item.run_seeds:
            given = options(item, seed, output, device, chosen)
            folder = output / item.run_name(seed)
            machine = _share(item, device)
            jobs.append(
                Job(
                    name=_title(item, seed),
                    command=train_command(page.tools, [page.root / item.config], given, processes=machine.processes),
                    folder=folder,
                    log=output / "logs" / f"{folder.name}.txt",
                    environment=thread_variables(machine.processes, item.threads),
                    cores=machine.cores,
                    after=tuple(_title(chosen[name], chosen[name].seed_for(seed)) for name in item.uses.values()),
                    kept=is_finished(folder, config.load(page.root / item.config, given)),
                )
            )
            runs.append(QuickRun(item.config, seed, folder, bool(item.uses), item.config in used))
    run_all(jobs, cores=runtime.available_cores())
    return runs


class _Share(NamedTuple):
    """What a training takes of the machine: data-parallel processes, and cores (None: all of them, for itself)."""

    processes: int
    cores: int | None


def _share(item: Quick, device: str) -> _Share:
    on_gpu = device == "gpu" or (device == "auto" and runtime.has_nvidia_gpu())
    cores = runtime.available_cores()
    processes = 1 if on_gpu else min(item.processes, cores)  # data parallel over the cores of a CPU
    beside = item.threads is not None and item.processes == 1 and not on_gpu
    return _Share(processes, min(item.threads, cores) if beside else None)


def _title(item: Quick, seed: int) -> str:
    return f"{item.name} seed {seed}"


def is_finished(folder: Path, settings: Config) -> bool:
    """Whether a folder holds a finished training of this configuration.

    Raises:
        CheckpointError: it holds one of another configuration, which must not be trained over.
    """
    if Checkpoints(folder).pointed("latest") is None:
        return False
    try:
        ended = read_run(folder).end is not None
    except PPError as error:
        log.info("%s: training goes on from its checkpoint (%s)", folder, error)
        return False
    check_resumable(folder, settings)
    return ended and saved_length(folder) == settings.Global.length()

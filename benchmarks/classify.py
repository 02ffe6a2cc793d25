"""Runs contenders one after another, each in its own process, and sets their rates side by side."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS, NAMES
from benchmarks.fresh_process import answer, measured
from benchmarks.turns import say, spread
from ppcore import runtime
from ppcore.errors import ConfigError, nearest

# What the contenders find in their environment besides the number of threads.
# default: nothing, as in a user's own script (empty, so that importing ppcore does not set it).
# mkl: MKL's fast path on AMD, as importing ppcore sets it (on Intel the same as default).
# suite: what ppcore.runtime.configure() sets, which speeds up PaddleClas as well.
ENVIRONMENTS = {
    "default": {"MKL_DEBUG_CPU_TYPE": ""},
    "mkl": {"MKL_DEBUG_CPU_TYPE": runtime.fast_mkl() or ""},
    "suite": None,
}
INSTALL = {
    "paddleclas": "pip install --no-deps paddleclas==2.6.0",
    "torch": "pip install -e .[reference]",
    "ours": "pip install -e .[cpu]",
}


def measure(name: str, model: Mapping[str, Any], batch: int, size: int, steps: int) -> dict[str, Any]:
    """Times `steps` steps of a contender in this process (two more warm up).

    Returns:
        images/s of the median step, and of the slowest and fastest; seconds of the first step; final loss.
    """
    step = CONTENDERS[name](model, batch, size)
    begin = time.perf_counter()
    step()
    first = time.perf_counter() - begin
    step()
    seconds = []
    for _ in range(steps):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    rates = batch / np.array(seconds)
    return {
        "images_per_second": float(np.median(rates)), "slowest": float(rates.min()), "fastest": float(rates.max()),
        "first_step_seconds": first, "loss": loss,
    }  # fmt: skip


def in_a_process(name: str, environment: str, threads: int, **about: Any) -> dict[str, Any]:
    """`measure` in a fresh interpreter; a contender that is not installed returns `missing`."""
    job = {"contender": name, "about": about, "threads": threads if environment == "suite" else None}
    variables = ENVIRONMENTS[environment]
    found = measured("benchmarks.classify", job, contender=name, threads=threads, variables=variables)
    return {"missing": INSTALL[name]} if "missing" in found else found


def train(
    models: Mapping[str, Mapping[str, Any]],
    contenders: list[str],
    *,
    batch: int,
    size: int,
    steps: int,
    rounds: int,
    threads: int,
) -> dict[str, Any]:
    """Training throughput, the contenders of a model interleaved over `rounds`.

    Args:
        models: name -> what builds it, ours and the peers' (benchmarks/train.yaml).
        contenders: some of `contenders.CONTENDERS`; one whose name for it a model does not give is left out there.
        batch, size: images of a step and their pixels.
        steps: timed in each process.
        rounds: processes of each contender and environment.
        threads: of everybody.

    Returns:
        `machine` facts, and `rows`: model, contender, environment, images/s (median of rounds), ratio to PaddleClas.

    Raises:
        ConfigError: no contender has that name.
    """
    for name in contenders:
        if name not in INSTALL:
            raise ConfigError(f"--contenders: no '{name}'{nearest(name, INSTALL)}; there are {', '.join(INSTALL)}")
    rows = []
    for title, model in models.items():
        present = [name for name in contenders if any(key in model for key in NAMES[name])]
        rows += _rows(title, present, rounds, threads, dict(model=dict(model), batch=batch, size=size, steps=steps))
    machine = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores(), "threads": threads}
    return {"what": "train", "batch": batch, "size": size, "machine": machine, "rows": rows}


def _rows(title: str, contenders: list[str], rounds: int, threads: int, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one model."""
    results: dict[tuple[str, str], list[dict]] = {}
    for _ in range(rounds):
        for environment in ENVIRONMENTS:
            for name in contenders:
                if name == "torch" and environment != "default":
                    continue  # the other variables are for Paddle
                found = in_a_process(name, environment, threads, **about)
                results.setdefault((name, environment), []).append(found)
                say(f"{title}, {name} ({environment}): {found.get('images_per_second') or found}")
    rows = []
    for (name, environment), found in results.items():
        row = {"model": title, "contender": name, "environment": environment}
        if "missing" in found[0]:
            rows.append(row | {"missing": found[0]["missing"]})
            continue
        rate = spread([f["images_per_second"] for f in found])
        figures = {"lowest_round": rate["lowest"], "highest_round": rate["highest"]}
        rows.append(row | {"images_per_second": rate["median"], **figures})
    base = {r["environment"]: r.get("images_per_second") for r in rows if r["contender"] == "paddleclas"}
    for row in rows:
        peer = base.get(row["environment"])
        if peer and "images_per_second" in row:
            row["ratio_to_paddleclas"] = row["images_per_second"] / peer
    return rows


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = ["| model | contender | environment | images/s | rounds | over PaddleClas |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        who = f"| {row['model']} | {row['contender']} | {row['environment']}"
        if "missing" in row:
            lines.append(f"{who} | not installed: `{row['missing']}` | | |")
            continue
        ratio = f"{row['ratio_to_paddleclas']:.2f}×" if "ratio_to_paddleclas" in row else ""
        lines.append(
            f"{who} | {row['images_per_second']:.2f} | {row['lowest_round']:.2f}–{row['highest_round']:.2f} | {ratio} |"
        )
    return "\n".join(lines)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    if job["threads"] is not None:
        runtime.configure(job["threads"])
    return measure(job["contender"], **job["about"])


if __name__ == "__main__":
    answer(_job)

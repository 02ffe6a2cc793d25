"""Runs contenders one after another, each in its own process, and sets their rates side by side."""

import sys
import time
from typing import Any

import numpy as np

from benchmarks.fresh_process import answer, measured
from ppcore import runtime
from ppcore.errors import ConfigError, nearest

# What the contenders find in their environment besides the number of threads.
# default: nothing, as in a user's own script (empty, so that importing ppcore does not set it).
# mkl: MKL's fast path on AMD, as importing ppcore sets it (on Intel the same as default).
# suite: what ppcore.runtime.configure() sets, which speeds up PaddleClas as well.
ENVIRONMENTS = {"default": {"MKL_DEBUG_CPU_TYPE": ""}, "mkl": {"MKL_DEBUG_CPU_TYPE": "5"}, "suite": None}
INSTALL = {
    "paddleclas": "pip install --no-deps paddleclas==2.6.0",
    "torch": "pip install -e .[reference]",
    "ours": "pip install -e .[cpu]",
}


def measure(name: str, batch: int, size: int, steps: int, arch: str) -> dict[str, Any]:
    """Times `steps` steps of a contender in this process (two more warm up).

    Returns:
        images/s of the median step, and of the slowest and fastest; seconds of the first step; final loss.
    """
    from benchmarks.contenders import CONTENDERS

    step = CONTENDERS[name](batch, size, arch)
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


def in_a_process(name: str, environment: str, threads: int, **sizes: int | str) -> dict[str, Any]:
    """`measure` in a fresh interpreter; a contender that is not installed returns `missing`."""
    job = {"contender": name, "sizes": sizes, "threads": threads if environment == "suite" else None}
    variables = ENVIRONMENTS[environment]
    found = measured("benchmarks.classify", job, contender=name, threads=threads, variables=variables)
    return {"missing": INSTALL[name]} if "missing" in found else found


def train(
    contenders: list[str], *, batch: int, size: int, steps: int, rounds: int, threads: int, arch: str
) -> dict[str, Any]:
    """Training throughput of a ViT of 192/12/3, contenders interleaved over `rounds`.

    Returns:
        `machine` facts, and `rows`: contender, environment, images/s (median of rounds), ratio to PaddleClas.
    """
    known = list(INSTALL)
    for name in contenders:
        if name not in known:
            raise ConfigError(f"--contenders: no '{name}'{nearest(name, known)}; there are {', '.join(known)}")
    results: dict[tuple[str, str], list[dict]] = {}
    for _ in range(rounds):
        for environment in ENVIRONMENTS:
            for name in contenders:
                if name == "torch" and environment != "default":
                    continue  # the other variables are for Paddle
                found = in_a_process(name, environment, threads, batch=batch, size=size, steps=steps, arch=arch)
                results.setdefault((name, environment), []).append(found)
                print(
                    f"  {name} ({environment}): {found.get('images_per_second') or found}", file=sys.stderr, flush=True
                )
    rows = []
    for (name, environment), found in results.items():
        if "missing" in found[0]:
            rows.append({"contender": name, "environment": environment, "missing": found[0]["missing"]})
            continue
        rates = [f["images_per_second"] for f in found]
        rows.append(
            {"contender": name, "environment": environment, "images_per_second": float(np.median(rates)),
             "lowest_round": min(rates), "highest_round": max(rates)}
        )  # fmt: skip
    base = {r["environment"]: r.get("images_per_second") for r in rows if r["contender"] == "paddleclas"}
    for row in rows:
        peer = base.get(row["environment"])
        if peer and "images_per_second" in row:
            row["ratio_to_paddleclas"] = row["images_per_second"] / peer
    machine = {"cpu": runtime.cpu_name(), "cores": runtime.available_cores(), "threads": threads}
    return {"what": "train", "model": "ViT 192/12/3", "batch": batch, "size": size, "machine": machine, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = ["| contender | environment | images/s | rounds | over PaddleClas |", "|---|---|---|---|---|"]
    for row in result["rows"]:
        if "missing" in row:
            lines.append(f"| {row['contender']} | {row['environment']} | not installed: `{row['missing']}` | | |")
            continue
        ratio = f"{row['ratio_to_paddleclas']:.2f}×" if "ratio_to_paddleclas" in row else ""
        lines.append(
            f"| {row['contender']} | {row['environment']} | {row['images_per_second']:.2f} "
            f"| {row['lowest_round']:.2f}–{row['highest_round']:.2f} | {ratio} |"
        )
    return "\n".join(lines)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    if job["threads"] is not None:
        runtime.configure(job["threads"])
    return measure(job["contender"], **job["sizes"])


if __name__ == "__main__":
    answer(_job)

"""Measuring in a process of its own, in which nothing but the contender has run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def clean_environment(threads: int, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a contender's process.

    OMP_, MKL_ and FLAGS_ variables are not inherited; `variables` come besides (an empty one is as if it were not set).
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "FLAGS_"))}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment["PYTHONSAFEPATH"] = "1"  # nothing is imported from the working directory
    return environment | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **(variables or {})}


def measured(
    module: str,
    job: Mapping[str, Any],
    *,
    contender: str,
    threads: int,
    python: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `python -m module JOB` prints: a line of JSON, `{"missing": NAME}` where an import of that name failed.

    Args:
        module: of `benchmarks`, which calls `answer`.
        job: for it.
        contender: its name in an error.
        threads: of OpenMP.
        python: the interpreter.
        variables: of its environment besides; see `clean_environment`.

    Raises:
        ConfigError: the process failed; with the last line that it wrote.
    """
    environment = clean_environment(threads, variables)
    command = [python, "-W", "ignore", "-m", module, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        from ppcore.errors import ConfigError  # here: a contender's process imports no more than it needs

        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ConfigError(f"benchmark of {contender} failed: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The other side of `measured`: hands the job to `measure` and prints its result."""
    try:
        result = measure(json.loads(sys.argv[1]))
    except ModuleNotFoundError as error:
        result = {"missing": error.name}
    print(json.dumps(result))


def peak_memory() -> int:
    """Bytes this program has had resident at most. (`ru_maxrss` would begin with what its parent had.)"""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

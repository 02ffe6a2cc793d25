"""Contenders taking turns, the machine's GEMM rate measured between, and what comes of it as numbers."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

INSTALL = {
    "torch": "pip install -e .[reference]",
    "transformers": "pip install -e .[reference]",
    "timm": "pip install --no-deps timm",
    "paddleclas": "pip install --no-deps paddleclas==2.6.0",
    "ppcls": "pip install --no-deps paddleclas==2.6.0",
    "openvino": "pip install -e .[deploy]",
    "onnxruntime": "pip install -e .[deploy]",
    "paddle": "pip install -e .[cpu]",
}


def say(text: str) -> None:
    """A line of progress."""
    print(f"  {text}", file=sys.stderr, flush=True)


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each begins with the next name, every other runs backwards."""
    first = number % max(len(names), 1)
    turned = [*names[first:], *names[:first]]
    return turned[::-1] if number % 2 else turned


def rounds(number: int, seconds: float | None, measure_machine: Callable[[], None]) -> Iterator[int]:
    """Numbers of rounds, the machine measured before each and after the last.

    Args:
        number: of rounds at most.
        seconds: no round begins that would end later than this, if it took as long as the longest; the first always does.
        measure_machine: measures the GEMM rate.
    """
    begin, longest = time.monotonic(), 0.0
    for turn in range(number):
        started = time.monotonic()
        if turn and seconds is not None and started - begin + longest > seconds:
            say(f"{turn} rounds of {number}: the time is up")
            break
        measure_machine()
        yield turn
        longest = max(longest, time.monotonic() - started)
    measure_machine()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of the rounds' values."""
    return {"median": float(np.median(values)), "lowest": float(min(values)), "highest": float(max(values))}


def share(rate: float, flop: float, limit: float | None) -> float | None:
    """Of the machine's limit (GFLOP/s), what `rate` images/s of `flop` each take; None without a limit."""
    return None if limit is None else rate * flop / 1e9 / limit


def reason(missing: str | None, failure: str | None) -> str:
    """Why a contender has no figure: how to install it, or what failed."""
    if missing:
        return f"{missing} is not installed: `{INSTALL.get(missing, f'pip install {missing}')}`"
    return failure or "no answer"


def markdown_row(columns: int, *cells: str) -> str:
    """A row of a Markdown table; cells that are not given are empty."""
    return f"| {' | '.join([*cells, *[''] * (columns - len(cells))])} |"


def rate_cells(row: Mapping[str, Any]) -> list[str]:
    """Images/s, their lowest and highest round, and the share of the machine's limit."""
    part = "" if row["share"] is None else f"{row['share']:.0%}"
    return [f"{row['images_per_second']:.1f}", f"{row['lowest']:.1f}–{row['highest']:.1f}", part]


def machine_lines(machine: Mapping[str, Any]) -> list[str]:
    """The machine in words: processor, threads, GEMM rates and by which library."""
    lines = [f"{machine['cpu']}, {machine['threads']} threads of {machine['cores']} cores; {machine['date']}"]
    for precision, found in machine["gemm"].items():
        others = ", ".join(f"{name} {rate:.0f}" for name, rate in found["medians"].items())
        lines.append(
            f"GEMM {precision}: {found['gflops']:.0f} GFLOP/s "
            f"({found['library']}, {found['lowest']:.0f}–{found['highest']:.0f} in this run; medians: {others})"
        )
    return lines


def machine_facts(gemm: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """What every result says of the machine."""
    from ppcore import runtime

    return {
        "cpu": runtime.cpu_name(), "cores": runtime.available_cores(), "threads": threads, "gemm": dict(gemm),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }  # fmt: skip

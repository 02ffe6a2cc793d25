"""Images a second that the training input path makes, and what it takes from the thread of the training loop."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.files_to_answers import photographs
from benchmarks.fresh_process import ROOT, measured
from benchmarks.gemm import SIZE, Machine
from benchmarks.turns import machine_facts, machine_lines, reason, rotated, rounds, say, spread
from ppcore.errors import PPError

FIGURES = ("images_per_second", "loop_ms", "process_ms")


def data(
    config: str,
    contenders: Mapping[str, Mapping],
    *,
    source: str | None,
    batch: int,
    batches: int,
    number: int,
    seconds: float | None,
    threads: int,
    count: int = 512,
    gemm_size: int = SIZE,
) -> dict[str, Any]:
    """Measures.

    Args:
        config: a configuration with `DataLoader.Train` on class folders.
        contenders: name -> `kind` (`input_contenders`) and `workers`.
        source: a folder of JPEGs; None takes scikit-image's.
        batch: images a batch.
        batches: that are counted, in each round.
        number: of rounds.
        seconds: see `turns.rounds`.
        threads: of everybody.
        count: of the files, 500x375.
        gemm_size: of the products that measure the machine.

    Returns:
        `machine`, `batch`, and `rows`: contender, workers, and of each of FIGURES median, lowest and highest round; or `reason`.
    """  # fmt: skip
    found: dict[str, list[dict]] = {}
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, Machine(threads, gemm_size) as machine:
        pictures = Path(folder) / "train" / "photographs"
        pictures.mkdir(parents=True)
        photographs(source, count, pictures)
        for turn in rounds(number, seconds, machine.measure):
            for name in rotated([name for name in contenders if name not in reasons], turn):
                job = {
                    **contenders[name], "config": str(ROOT / config), "root": str(pictures.parent), "batch": batch,
                    "batches": batches, "warmup": 2 + contenders[name]["workers"], "threads": threads,
                }  # fmt: skip
                result = _measured(name, job)
                if isinstance(result, str):
                    reasons[name] = result
                    continue
                found.setdefault(name, []).append(result)
                say(
                    f"round {turn + 1}, {name}: {result['images_per_second']:.0f} images/s, loop {result['loop_ms']:.1f} ms"
                )
        facts = machine_facts(machine.facts(), threads)
    rows = []
    for name, contender in contenders.items():
        row = {"contender": name, "workers": contender["workers"], "ours": contender["kind"] == "ours"}
        if name in reasons:
            rows.append(row | {"reason": reasons[name]})
        else:
            rows.append(row | {figure: spread([each[figure] for each in found[name]]) for figure in FIGURES})
    return {"what": "data", "batch": batch, "machine": facts, "rows": rows}


def _measured(name: str, job: dict[str, Any]) -> dict[str, Any] | str:
    """A contender in a process of its own; or why it has no figure."""
    try:
        result = measured("benchmarks.input_contenders", job, contender=name, threads=job["threads"])
    except PPError as error:
        return str(error)
    return reason(result["missing"], None) if "missing" in result else result


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        *machine_lines(result["machine"]), f"batches of {result['batch']}, JPEGs of 500x375", "",
        "| contender | worker processes | images/s | rounds | loop thread, ms a batch | rounds | this process's CPU, ms a batch |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in result["rows"]:
        if "reason" in row:
            lines.append(f"| {row['contender']} | {row['workers']} | {row['reason']} | | | | |")
            continue
        rate, loop, process = (row[figure] for figure in FIGURES)
        lines.append(
            f"| {row['contender']} | {row['workers']} | {rate['median']:.0f} | {rate['lowest']:.0f}–{rate['highest']:.0f} "
            f"| {loop['median']:.1f} | {loop['lowest']:.1f}–{loop['highest']:.1f} | {process['median']:.0f} |"
        )
    return "\n".join(lines)

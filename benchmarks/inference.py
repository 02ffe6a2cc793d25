"""Images a second of classifiers, ours and others' in one run, and how far each is from the machine's limit."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exported_models import prepare
from benchmarks.gemm import SIZE, Machine
from benchmarks.living_process import LivingProcess
from benchmarks.turns import (
    machine_facts,
    machine_lines,
    markdown_row,
    rate_cells,
    reason,
    rotated,
    rounds,
    say,
    share,
    spread,
)

# Largest difference to our eager float32 logits, over the largest of these, at which a contender computes the same function.
SAME = {"fp32": 1e-3, "bf16": 0.1, "int8": 0.5}
# What a kind of contender needs of `exported_models.prepare`.
NEEDS = {
    "torch": "weights_timm", "openvino": "onnx", "onnxruntime": "onnx", "transformers": "weights_transformers",
    "paddleclas": "weights_paddleclas",
}  # fmt: skip
# Whose arguments a model must name for a kind of contender to take part.
PEERS = {
    "torch": "timm", "openvino": "timm", "onnxruntime": "timm", "transformers": "transformers", "paddleclas": "paddleclas",
}  # fmt: skip


def infer(
    models: Mapping[str, Mapping],
    contenders: Mapping[str, Mapping],
    *,
    batches: Sequence[int],
    number: int,
    seconds: float | None,
    threads: int,
    turn: float = 0.4,
    gemm_size: int = SIZE,
) -> dict[str, Any]:
    """Measures.

    Args:
        models: name -> what builds it, ours and the peers' (benchmarks/infer.yaml).
        contenders: name -> `kind` (`inference_contenders.KINDS`), `precision`, and what the kind takes.
        batches: images a call.
        number: of rounds.
        seconds: for the rounds of all models together; None as long as they take.
        threads: of everybody.
        turn: seconds a contender has in each round.
        gemm_size: of the products that measure the machine.

    Returns:
        `machine`, `rounds`, and `rows`: model, contender, batch, precision, ours, images/s (median, lowest, highest round),
        share of the limit, seconds of the first call (with loading and compiling), difference of the logits (`difference`,
        and `relative` to the largest); or model, contender and `reason` where there is no figure.
    """
    rows = []
    with Machine(threads, gemm_size) as machine:
        for name, spec in models.items():
            say(f"{name}: exporting")
            with tempfile.TemporaryDirectory() as folder:
                formats = {"onnx"} | {each["engine"] for each in contenders.values() if each.get("engine") == "paddle"}
                present = {each: given for each, given in contenders.items() if takes_part(given, spec)}
                needs = {need for each in present.values() if (need := needed(each))}
                facts = prepare(
                    spec, Path(folder), batch=max(batches), formats=sorted(formats), needs=needs, threads=threads
                )
                share_of_time = None if seconds is None else seconds / len(models)
                entrants = _Entrants(spec, facts, present, batches, threads)
                with entrants:
                    for round_number in rounds(number, share_of_time, machine.measure):
                        entrants.take_turns(round_number, turn)
            rows += [{"model": name, "flop": facts["flop"], **row} for row in entrants.rows()]
        gemm = machine.facts()
        for row in rows:
            if "images_per_second" in row:
                row["share"] = share(row["images_per_second"], row["flop"], machine.limit(row["precision"]))
    return {"what": "infer", "rounds": number, "machine": machine_facts(gemm, threads), "rows": rows}


def needed(contender: Mapping[str, Any]) -> str | None:
    """What a contender needs of `exported_models.prepare`, besides our export."""
    if contender["precision"] == "int8":
        return "int8"
    return NEEDS.get(contender["kind"])


def takes_part(contender: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a model of benchmarks/infer.yaml names the peer that a contender is; ours always does."""
    return contender["kind"] not in PEERS or PEERS[contender["kind"]] in spec


class _Entrants:
    """The contenders of one model, each in its process."""

    def __init__(
        self,
        spec: Mapping,
        facts: dict[str, Any],
        contenders: Mapping[str, Mapping],
        batches: Sequence[int],
        threads: int,
    ):
        self.contenders, self.batches, self.reference = contenders, batches, facts.pop("logits")
        self.lacking = facts.pop("lacking")
        job = {**{key: spec.get(key) for key in ("timm", "paddleclas", "transformers")}, **facts, "threads": threads}
        self.reasons: dict[str, str] = {}
        self.processes: dict[str, LivingProcess] = {}
        self.first: dict[tuple[str, int], dict[str, float]] = {}
        self.rates: dict[tuple[str, int], list[float]] = {}
        for name, contender in contenders.items():
            need = needed(contender)
            if need in self.lacking:
                self.reasons[name] = self.lacking[need]
                continue
            # Peers find the environment of a user's own script; ours is set by `runtime.configure` or not used at all.
            variables = {} if contender.get("ours") or contender["kind"] == "paddleclas" else {"OMP_WAIT_POLICY": ""}
            self.processes[name] = LivingProcess(
                "benchmarks.inference_contenders", job | dict(contender), threads=threads, variables=variables,
                waiting=lambda waited, name=name: say(f"{name}: {waited:.0f} s"),
            )  # fmt: skip

    def __enter__(self) -> None:
        for name in self.processes:
            self._compare(name)

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()

    def _compare(self, name: str) -> None:
        """The first call of each batch size: its logits against ours."""
        for batch in self.batches:
            found = self.processes[name].ask(do="logits", batch=batch)
            if not found:
                self._fail(name)
                return
            wanted = self.reference[:batch]
            difference = float(np.abs(np.array(found["logits"]) - wanted).max())
            relative = difference / float(np.abs(wanted).max())
            self.first[name, batch] = {"first": found["seconds"], "difference": difference, "relative": relative}
            if not relative <= SAME[self.contenders[name]["precision"]]:
                self.reasons[name] = f"computes another function: logits differ by {difference:.2g} ({relative:.0%})"
                self.processes[name].close()
                return
        say(f"{name}: first call {found['seconds']:.1f} s, max |Δ logits| {difference:.1e}")

    def _fail(self, name: str) -> None:
        process = self.processes[name]
        self.reasons[name] = reason(process.missing, process.failure)
        say(f"{name}: {self.reasons[name]}")

    def take_turns(self, number: int, seconds: float) -> None:
        """One round."""
        for name in rotated([name for name in self.processes if name not in self.reasons], number):
            told = []
            for batch in self.batches:
                found = self.processes[name].ask(do="time", batch=batch, seconds=seconds)
                if not found:
                    self._fail(name)
                    break
                self.rates.setdefault((name, batch), []).append(batch / float(np.median(found["seconds"])))
                told.append(f"batch {batch} {self.rates[name, batch][-1]:.1f}")
            say(f"round {number + 1}, {name}: {', '.join(told)} images/s")

    def rows(self) -> list[dict[str, Any]]:
        """A row for each contender and batch, or one with the reason why there is none."""
        rows = []
        for name, contender in self.contenders.items():
            row = {"contender": name, "precision": contender["precision"], "ours": bool(contender.get("ours"))}
            if name in self.reasons:
                rows.append(row | {"reason": self.reasons[name]})
                continue
            for batch in self.batches:
                rate = spread(self.rates[name, batch])
                figures = {"images_per_second": rate["median"], "lowest": rate["lowest"], "highest": rate["highest"]}
                rows.append(row | {"batch": batch, **figures, **self.first[name, batch]})
        return rows


def ratios(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Our fastest over the fastest of the others, by model, batch and precision."""
    found = []
    groups = dict.fromkeys((r["model"], r["batch"], r["precision"]) for r in rows if "images_per_second" in r)
    for group in groups:
        mine, theirs = (
            max(
                (r for r in rows if r["ours"] is ours and (r["model"], r.get("batch"), r["precision"]) == group and "images_per_second" in r),
                key=lambda r: r["images_per_second"], default=None,
            )
            for ours in (True, False)
        )  # fmt: skip
        if mine and theirs:
            model, batch, precision = group
            ratio = mine["images_per_second"] / theirs["images_per_second"]
            found.append(
                {
                    "model": model,
                    "batch": batch,
                    "precision": precision,
                    "ours": mine["contender"],
                    "peer": theirs["contender"],
                    "ratio": ratio,
                }
            )
    return found


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [*machine_lines(result["machine"])]
    for model in dict.fromkeys(row["model"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["model"] == model]
        lines += [
            "", f"**{model}**, {rows[0]['flop'] / 1e9:.2f} GFLOP an image", "",
            "| contender | batch | images/s | rounds | of the limit | first call, s | max \\|Δ logits\\| |", "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in rows:
            if "reason" in row:
                cells = ["", row["reason"]]
            else:
                cells = [str(row["batch"]), *rate_cells(row), f"{row['first']:.1f}", f"{row['difference']:.1e}"]
            lines.append(markdown_row(7, row["contender"], *cells))
    compared = ratios(result["rows"])
    if compared:
        lines += ["", "| model | batch | precision | ours | best of the others | ratio |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {r['model']} | {r['batch']} | {r['precision']} | {r['ours']} | {r['peer']} | {r['ratio']:.2f}× |"
            for r in compared
        ]
    return "\n".join(lines)

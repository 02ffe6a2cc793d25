"""Images a second from files to answers, start-up included: our tool as a whole command, beside a script with torch and Pillow."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import augment
from benchmarks.exported_models import disturb
from benchmarks.fresh_process import ROOT, clean_environment
from benchmarks.gemm import SIZE, Machine
from benchmarks.turns import machine_facts, machine_lines, markdown_row, rate_cells, rotated, rounds, say, share, spread
from ppcore.errors import DataError


def photographs(source: str | None, count: int, folder: Path) -> int:
    """Writes `count` JPEGs of 500x375 pixels, those of `source` (default: scikit-image's) in turn; their mean bytes."""
    jpegs = augment.photographs(source, limit=count)
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(jpegs[number % len(jpegs)])
    return round(float(np.mean([len(jpegs[number % len(jpegs)]) for number in range(count)])))


def files(
    models: Mapping[str, Mapping],
    ours: Mapping[str, Mapping],
    peers: Mapping[str, Mapping],
    preprocessing: Mapping[str, Any],
    *,
    source: str | None,
    count: int,
    number: int,
    seconds: float | None,
    threads: int,
    gemm_size: int = SIZE,
) -> dict[str, Any]:
    """Measures.

    Args:
        models: name -> `config` of our tool, `arch`, and `timm`'s arguments.
        ours: name -> `precision`, and `override` for our tool.
        peers: name -> `precision`, and `settings` of which the fastest takes part.
        preprocessing: of the peers (`torch_files.classify`), as the configuration's.
        source: a folder of JPEGs; None takes scikit-image's.
        count: of the files.
        number: of rounds.
        seconds: for the rounds of all models; see `turns.rounds`.
        threads: of everybody.
        gemm_size: of the products that measure the machine.

    Returns:
        `machine`, `files`, `bytes` (mean), and `rows`: model, contender, precision, ours, setting, seconds and images/s (median,
        lowest, highest round), share of the machine's limit, `agreement` (share of files whose first class is that of the
        first of `ours`); or `reason`.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder, Machine(threads, gemm_size) as machine:
        pictures = Path(folder) / "photographs"
        pictures.mkdir()
        mean_bytes = photographs(source, count, pictures)
        for name, spec in models.items():
            work = Path(folder) / name
            work.mkdir()
            commands = _Commands(spec, work, pictures, count, threads, preprocessing)
            commands.prepare(ours, peers)
            budget = None if seconds is None else seconds / len(models)
            for turn in rounds(number, budget, machine.measure):
                for contender in rotated(list(commands.entered), turn):
                    say(f"round {turn + 1}, {name} {contender}: {commands.run(contender):.1f} images/s")
            rows += [
                {"model": name, "flop": commands.flop, **row} for row in commands.rows({**ours, **peers}, set(ours))
            ]
        for row in rows:
            if "images_per_second" in row:
                row["share"] = share(row["images_per_second"], row["flop"], machine.limit(row["precision"]))
        facts = machine_facts(machine.facts(), threads)
    return {"what": "files", "files": count, "bytes": mean_bytes, "machine": facts, "rows": rows}


class _Commands:
    """The contenders' commands for one model, and how long they took."""

    def __init__(
        self, spec: Mapping, work: Path, pictures: Path, count: int, threads: int, preprocessing: Mapping[str, Any]
    ):
        import paddle

        from benchmarks.flops import multiply_adds
        from ppcore import weights
        from ppcore.config import components
        from ppcore.model import traits

        self.spec, self.work, self.pictures, self.count, self.threads = spec, work, pictures, count, threads
        self.preprocessing = dict(preprocessing)
        paddle.seed(0)
        model = components.build(dict(spec["arch"]))
        disturb(model)
        self.flop = 2 * multiply_adds(model, (1, 3, *traits(model).img_size))
        weights.save(model, work / "weights.safetensors")
        np.savez(work / "timm.npz", **weights.export(model, layout="timm"))
        self.entered: dict[str, list[str]] = {}
        self.settings: dict[str, str] = {}
        self.seconds: dict[str, list[float]] = {}
        self.reasons: dict[str, str] = {}

    def prepare(self, ours: Mapping[str, Mapping], peers: Mapping[str, Mapping]) -> None:
        """Runs everybody once, uncounted: ours exports the network and keeps it, the peers find their fastest setting."""
        for name, contender in ours.items():
            overrides = [
                f"Infer.input={self.pictures}", f"Infer.output={self.work / name}", "Infer.topk=5", *contender["override"],
            ]  # fmt: skip
            weights = str(self.work / "weights.safetensors")
            arch = [f"Arch.{key}={value}" for key, value in self.spec["arch"].items() if key != "name"]
            self.entered[name] = [
                sys.executable, str(ROOT / "tools" / "infer.py"), "-c", str(ROOT / self.spec["config"]), "--weights", weights,
                "-o", *overrides, *arch,
            ]  # fmt: skip
            self.settings[name] = " ".join(contender["override"])
            self._first(name)
        for name, contender in peers.items():
            tried = {}
            for setting in contender["settings"]:
                self.entered[name] = self._peer(name, contender, setting, min(self.count, 200))
                self.settings[name] = ", ".join(f"{key} {value}" for key, value in setting.items())
                took = self._first(name)
                if took is None:
                    break
                tried[took] = (self._peer(name, contender, setting, self.count), self.settings[name])
            else:
                self.entered[name], self.settings[name] = tried[min(tried)]

    def _peer(self, name: str, contender: Mapping, setting: Mapping, limit: int) -> list[str]:
        job = {
            "folder": str(self.pictures), "output": str(self.work / f"{name}.json"), "limit": limit, "threads": self.threads,
            "timm": self.spec["timm"], "weights_timm": str(self.work / "timm.npz"), "precision": contender["precision"],
            **self.preprocessing, **setting,
        }  # fmt: skip
        return [sys.executable, "-W", "ignore", "-m", "benchmarks.torch_files", json.dumps(job)]

    def _first(self, name: str) -> float | None:
        """Seconds of a run; a contender that fails drops out."""
        try:
            took = self._seconds(name)
        except DataError as error:
            self.reasons[name] = str(error)
            del self.entered[name]
            say(f"{name}: {error}")
            return None
        say(f"{name} ({self.settings[name]}): once, {took:.1f} s")
        return took

    def _seconds(self, name: str) -> float:
        begin = time.perf_counter()
        process = subprocess.Popen(
            self.entered[name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=clean_environment(self.threads, {"PYTHONSAFEPATH": ""} if name in self._ours() else {}),
        )  # fmt: skip
        while True:
            try:
                _, errors = process.communicate(timeout=4.0)
                break
            except subprocess.TimeoutExpired:
                say(f"{name}: {time.perf_counter() - begin:.0f} s")
        if process.returncode:
            raise DataError((errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:300])
        return time.perf_counter() - begin

    def _ours(self) -> list[str]:
        return [name for name, command in self.entered.items() if command[1].endswith("infer.py")]

    def run(self, name: str) -> float:
        """A counted run: images/s."""
        self.seconds.setdefault(name, []).append(self._seconds(name))
        return self.count / self.seconds[name][-1]

    def _classes(self, name: str) -> list[int]:
        """The likeliest class of each file, in the order of the files."""
        if name in self._ours():
            images = json.loads((self.work / name / "predictions.json").read_text())["images"]
            return [image["topk"][0]["class"] for image in images]
        return [image["classes"][0] for image in json.loads((self.work / f"{name}.json").read_text())]

    def rows(self, contenders: Mapping[str, Mapping], ours: set[str]) -> list[dict[str, Any]]:
        """What came of each."""
        rows, reference = [], None
        for name, contender in contenders.items():
            row = {"contender": name, "precision": contender["precision"], "ours": name in ours}
            if name in self.reasons:
                rows.append(row | {"reason": self.reasons[name]})
                continue
            classes = np.array(self._classes(name))
            reference = classes if reference is None else reference
            seconds = spread(self.seconds[name])
            rows.append(
                row
                | {"setting": self.settings[name], "seconds": seconds["median"], "images_per_second": self.count / seconds["median"],
                   "lowest": self.count / seconds["highest"], "highest": self.count / seconds["lowest"],
                   "agreement": float(np.mean(classes == reference))}
            )  # fmt: skip
        return rows


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        *machine_lines(result["machine"]), f"{result['files']} JPEGs of 500x375, {result['bytes'] / 1000:.0f} kB on average", "",
        "| model | command | setting | seconds | images/s | rounds | of the limit | same first class |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in result["rows"]:
        if "reason" in row:
            cells = [row["reason"]]
        else:
            cells = [row["setting"], f"{row['seconds']:.1f}", *rate_cells(row), f"{row['agreement']:.1%}"]
        lines.append(markdown_row(8, row["model"], row["contender"], *cells))
    return "\n".join([*lines, *ratio_lines(result["rows"])])


def ratio_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ours over the peer at the same precision, a line each."""
    lines = [""]
    for mine in rows:
        for peer in rows:
            alike = (mine["model"], mine["precision"]) == (peer["model"], peer["precision"])
            if alike and mine["ours"] and not peer["ours"] and "seconds" in mine and "seconds" in peer:
                ratio = peer["seconds"] / mine["seconds"]
                lines.append(f"{mine['model']}, {mine['contender']} over {peer['contender']}: {ratio:.2f}×")
    return lines

"""From runs to statements: each experiment's result with uncertainty and protocol, and what was run where."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ppcore.metrics.spec import MetricSpec
from ppcore.report.formats import spoken
from ppcore.report.run_data import Run
from ppcore.report.significance import wilson


def experiments(runs: Sequence[Run]) -> list[dict]:
    """Groups runs that differ in nothing but the seed, and summarises each group.

    Returns:
        One dict a group: `runs` (names), `seeds`, `metric` (the primary one), `value` (its mean; None when nothing
        was evaluated), `spread` (sample standard deviation over seeds; None for one), `interval` (95 % Wilson interval
        of one run's accuracy), `also` (the other metrics), `n` test images, `protocol`, `finished`. Accuracies in percent.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    return [_experiment(group) for group in groups.values()]


def _identity(run: Run) -> str:
    """The configuration without what may differ between repetitions. A seed repeated is a repetition too.

    Seeds of parts, such as of a choice of labels, may differ, too. Runs that start from other runs, each from that of its own
    seed (`Quick.run_name`), are repetitions.
    """
    config = {key: value for key, value in run.config.items() if key != "Global"}
    settings = run.config.get("Global") or {}
    config["Global"] = {key: settings[key] for key in settings if key not in ("output_dir", "device")}
    return json.dumps(_without_seeds(config), sort_keys=True, default=str).replace(f"_seed{run.seed}/", "_seed/")


def _without_seeds(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_seeds(value) for key, value in node.items() if key != "seed"}
    return [_without_seeds(value) for value in node] if isinstance(node, list) else node


def _experiment(group: list[Run]) -> dict:
    results = [run.result for run in group]
    measured = [result for result in results if result]
    complete = len(measured) == len(group) and len({(r["n"], r["weights"], r["step"]) for r in measured}) == 1
    first, metric = group[0], group[0].primary_metric

    def over_seeds(metric: MetricSpec) -> dict:
        # A mean over runs that are not alike (one unfinished, another test set) would not be a number of anything.
        values = [metric.written(result[metric.key]) for result in measured] if complete else []
        return {
            "metric": metric,
            "value": statistics.fmean(values) if values else None,
            "spread": statistics.stdev(values) if len(values) > 1 else None,
        }

    single_accuracy = complete and len(measured) == 1 and (metric.unit, metric.factor) == ("%", 100)
    return {
        "title": f"{first.builder} on {dataset_name(first)}",
        "runs": [run.name for run in group],
        "seeds": [run.seed for run in group],
        "builder": first.builder,
        "params": first.start["params"],
        **over_seeds(metric),
        "interval": wilson(measured[0][metric.key], measured[0]["n"]) if single_accuracy else None,
        "also": [over_seeds(other) for other in first.metrics[1:]],
        "n": measured[0]["n"] if complete else None,
        "finished": all(run.end for run in group),
        "why_none": ""
        if complete
        else ("not evaluated yet" if not measured else "the seeds' evaluations are not alike"),
        "protocol": protocol(first),
    }


def dataset_name(run: Run) -> str:
    """Returns the evaluation data set's class name with its split, e.g. `Digits (test)`, `PairedFolder (40 to 56)`."""
    node = _eval(run).get("dataset") or {}
    name = str(node.get("name", "unknown data")).rsplit(".", 1)[-1]
    split = node.get("split")
    if isinstance(split, list):
        split = " to ".join(str(edge) for edge in split)
    return name if split is None else f"{name} ({split})"


def protocol(run: Run) -> str:
    """Returns how the result was measured, in one line: images, transforms, metric, weights, step."""
    chain = " → ".join(_call(node) for node in (_eval(run).get("transforms") or {}).values()) or "no transforms"
    result = run.result
    if result is None:
        return f"{dataset_name(run)}; {chain}; not evaluated"
    skipped = f", {result['skipped']} unreadable skipped" if result.get("skipped") else ""
    weights = "averaged (EMA) weights" if result["weights"] == "ema" else "trained weights"
    metric = f"{run.start['metric']}, mean" if run.start.get("metric") else spoken(run.primary_metric)
    images = f"{metric} over {result['n']:,} images{skipped}"
    return f"{dataset_name(run)}; {chain}; {images}; {weights} of step {result['step']:,}"


def run_facts(run: Run) -> dict:
    """Returns what was run, on what, and what came of it: plain values for the report."""
    env, result, best = run.env, run.result, run.best
    commit = env.get("git_sha") or "unknown"
    rates = [record["images_per_second"] for record in run.train if record.get("images_per_second")]
    return {
        "name": run.name,
        "title": f"{run.builder} on {dataset_name(run)}",
        "command": run.command,
        "commit": commit,
        "uncommitted_changes": env.get("git_dirty"),
        "seed": run.seed,
        "date": env.get("date"),
        "versions": {key: env[key] for key in ("ppcore", "paddle", "python", "numpy", "opencv") if env.get(key)},
        "machine": {
            key: env[key]
            for key in ("cpu", "cores", "omp_num_threads", "device", "world_size", "platform")
            if env.get(key) is not None
        },
        "params": run.start["params"],
        "train_images": run.start.get("train_images"),
        "eval_images": run.start.get("eval_images"),
        "batch_size": run.start.get("batch_size"),
        "epochs": run.start.get("epochs"),
        "steps": run.start["steps"],
        "steps_done": max([record["step"] for record in (*run.train, *run.evals)], default=run.start["step"]),
        "finished": run.end is not None,
        "resumed": run.resumed,
        "seconds": run.seconds,
        "images_per_second": statistics.median(rates) if rates else None,
        "metric": run.primary_metric,
        "numbers": run.written(result),
        "loss": result.get("loss") if result else None,
        "n": result["n"] if result else None,
        "weights": result["weights"] if result else None,
        "step": result["step"] if result else None,
        "best": run.written(best),
        "best_step": best["step"] if best else None,
        "protocol": protocol(run),
        "notes": run.notes,
    }


def metrics(runs: Sequence[Run]) -> list[MetricSpec]:
    """The metrics that some runs were evaluated by, each once."""
    recorded = {key for run in runs for record in run.evals for key in record if record[key] is not None}
    return list({metric.key: metric for run in runs for metric in run.metrics if metric.key in recorded}.values())


def _eval(run: Run) -> dict:
    return (run.config.get("DataLoader") or {}).get("Eval") or {}


def _call(node: dict) -> str:
    name = str(node.get("name", "?")).rsplit(".", 1)[-1]
    values = ", ".join(f"{key} {value}" for key, value in node.items() if key != "name")
    return f"{name}({values})" if values else name

"""Measures speed beside the peers and prints a table. What is measured stands in benchmarks/WHAT.yaml.

infer: images/s of classifiers by engine and precision, beside the same networks of others, as shares of the machine's limit.
files: from 1,000 JPEGs to answers: tools/infer.py as a whole command, beside a script with torch, timm and Pillow.
train: images/s of networks in training, every contender in its own process.
data: the training input path through its loader: images/s, and what it takes from the loop's thread.
memory: peak memory of a training step with Global.recompute and without.
loop_thread: what a training batch costs the loop's thread, and the one beside it, after decoding.
augment: images/s of a training pipeline on one core, beside the same steps on Pillow.
enhance: seconds and memory of a network that makes images, by size, engine and precision, beside a peer in torch.
distill: what a teacher adds to a training step, beside its own forward pass.

python tools/benchmark.py --what infer --output FOLDER
python tools/benchmark.py --what infer --models DeiT-Ti --contenders ours-openvino-bf16 timm-openvino-bf16
python tools/benchmark.py --what files --data folder/of/jpegs --output FOLDER
python tools/benchmark.py --what data --data folder/of/jpegs
python tools/benchmark.py --what train --contenders ours paddleclas --rounds 3 --json train.json
python tools/benchmark.py --what train --models Swin-T --batch 8
python tools/benchmark.py --what augment --data folder/of/jpegs
python tools/benchmark.py --what distill --batch 8
python tools/benchmark.py --what enhance --peer torch_uhdfour.py --weights FILE --data folder/of/photographs
python tools/benchmark.py --what enhance --arch ppllie.PairLIE --peer tests/reference/peer_pairlie.py --sizes 600x400
python tools/benchmark.py --what enhance --arch "{name: ppsr.fsrcnn, scale: 4}" --peer tests/reference/peer_fsrcnn.py --sizes 960x540
python tools/benchmark.py --what enhance --arch ppsr.vdsr --scale 4 --peer tests/reference/peer_vdsr.py --sizes 960x540

A contender that is not installed is named with the command that installs it, one that fails with the reason.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import environment  # (says how to set up what is missing)

sys.path.insert(0, str(environment.ROOT))  # `benchmarks` is no installed package

import benchmarks
from ppcore import cli, runtime
from ppcore.errors import ConfigError

Components = dict[str, Any]


def infer(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(arguments.threads)
    from benchmarks import inference as benchmark

    models, contenders = components["models"], components["contenders"]
    result = benchmark.infer(
        {name: models[name] for name in benchmarks.chosen(arguments.models, models, "--models")},
        {name: contenders[name] for name in benchmarks.chosen(arguments.contenders, contenders, "--contenders")},
        batches=arguments.batches or components["batches"], number=arguments.rounds or 5,
        seconds=arguments.seconds or 360, threads=arguments.threads,
    )  # fmt: skip
    return result, benchmark.table(result)


def files(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(arguments.threads)
    from benchmarks import files_to_answers as benchmark

    models, kinds = components["models"], {**components["ours"], **components["peers"]}
    wanted = benchmarks.chosen(arguments.contenders, kinds, "--contenders")
    result = benchmark.files(
        {name: models[name] for name in benchmarks.chosen(arguments.models or ["DeiT-Ti"], models, "--models")},
        *({name: kinds[name] for name in wanted if name in components[part]} for part in ("ours", "peers")),
        components["preprocessing"], source=arguments.data, count=arguments.images, number=arguments.rounds or 3,
        seconds=arguments.seconds or 180, threads=arguments.threads,
    )  # fmt: skip
    return result, benchmark.table(result)


def data(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    from benchmarks import training_input as benchmark

    contenders = components["contenders"]
    result = benchmark.data(
        components["config"], {name: contenders[name] for name in benchmarks.chosen(arguments.contenders, contenders, "--contenders")},
        source=arguments.data, batch=arguments.batch or 128, batches=arguments.steps, number=arguments.rounds or 3,
        seconds=arguments.seconds, threads=arguments.threads,
    )  # fmt: skip
    return result, benchmark.table(result)


def memory(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    from benchmarks import memory as benchmark

    result = benchmark.memory(
        components["networks"], size=arguments.size, steps=arguments.steps, rounds=arguments.rounds or 1, threads=arguments.threads
    )  # fmt: skip
    return result, benchmark.table(result)


def loop_thread(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(1)
    from benchmarks import loop_thread as benchmark

    result = benchmark.loop_thread(**components)
    return result, benchmark.table(result)


def train(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    from benchmarks import classify

    models = components["models"]
    result = classify.train(
        {name: models[name] for name in benchmarks.chosen(arguments.models or list(models)[:1], models, "--models")},
        arguments.contenders or list(classify.CONTENDERS), batch=arguments.batch or 16, size=arguments.size,
        steps=arguments.steps, rounds=arguments.rounds or 2, threads=arguments.threads,
    )  # fmt: skip
    return result, f"batch {result['batch']}, {result['size']} px, {result['machine']}\n{classify.table(result)}"


def augment(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(1)
    from benchmarks import augment as benchmark

    photographs = benchmark.photographs(arguments.data)
    result = benchmark.augment(components["transforms"], photographs, arguments.rounds or 9)
    return result, benchmark.table(result)


def distill(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(arguments.threads)
    from benchmarks import teacher_cost as benchmark

    components["student"]["img_size"] = arguments.size
    result = benchmark.distill(**components, batch=arguments.batch or 16, steps=arguments.steps)
    return result, benchmark.table(result)


def enhance(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    runtime.configure(arguments.threads)
    from benchmarks import engines as benchmark

    sizes = []
    for text in arguments.sizes:
        width, _, height = text.partition("x")
        if not (width.isdigit() and height.isdigit()):
            raise ConfigError(f"--sizes {text}: write it as WIDTHxHEIGHT")
        sizes.append((int(height), int(width)))
    photographs = sorted(map(str, Path(arguments.data).glob("*.jpg"))) if arguments.data else []
    result = benchmark.enhance(
        benchmarks.component(components["arch"]), contenders=arguments.contenders, sizes=sizes, scale=arguments.scale,
        number=arguments.rounds or 1, threads=arguments.threads, runs=arguments.runs, seconds=arguments.seconds, weights_file=arguments.weights, peer=arguments.peer,
        peer_python=arguments.peer_python, photographs=photographs,
    )  # fmt: skip
    return result, benchmark.table(result)


WHAT = {
    "infer": infer,
    "files": files,
    "data": data,
    "memory": memory,
    "loop_thread": loop_thread,
    "train": train,
    "augment": augment,
    "distill": distill,
    "enhance": enhance,
}


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=tuple(WHAT), required=True)
    parser.add_argument(
        "--contenders",
        nargs="+",
        metavar="NAME",
        help="some of those in benchmarks/WHAT.yaml (train, enhance: of the code)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="infer, files, train (the first): some of those in benchmarks/WHAT.yaml",
    )
    parser.add_argument("--batches", nargs="+", type=int, metavar="B", help="infer: images a call")
    parser.add_argument("--images", type=int, default=1000, help="files: how many")
    parser.add_argument("--batch", type=int, help="train, distill (16), data (128)")
    parser.add_argument("--size", type=int, default=224, help="train, distill, memory: pixels, a multiple of 16")
    parser.add_argument("--steps", type=int, default=5, help="train, distill, data, memory: timed steps a round")
    parser.add_argument("--arch", help="enhance: another builder of the network, or {name: …, …}")
    parser.add_argument("--scale", type=float, help="enhance: for networks that are given enlarged photographs")
    parser.add_argument("--teacher", help="distill: another builder of the teacher")
    parser.add_argument("--rounds", type=int, help="default: infer 5, files 3, data 3, train 2, augment 9, others 1")
    parser.add_argument(
        "--seconds", type=float, help="no new round after these (infer 360, files 180; others: no limit)"
    )
    parser.add_argument(
        "--threads", type=int, default=runtime.available_cores(), help="of everybody (default: all cores)"
    )
    parser.add_argument("--data", metavar="FOLDER", help="JPEGs; default: scikit-image's (enhance: none)")
    parser.add_argument(
        "--sizes", nargs="+", default=["512x512", "1920x1080", "3840x2160"], help="enhance: WIDTHxHEIGHT"
    )
    parser.add_argument("--weights", metavar="FILE", help="enhance: trained weights")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="enhance: timed runs of each process")
    parser.add_argument("--peer", metavar="FILE", help="enhance: a file with `Net`, the network in torch")
    parser.add_argument("--peer-python", default=sys.executable, help="enhance: an interpreter that has torch")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    parser.add_argument("--output", metavar="FOLDER", help="also write result.json, result.md and plot.png there")
    arguments = parser.parse_args()
    components = benchmarks.components(arguments.what)
    if arguments.teacher and "teacher" in components:
        components["teacher"] = {"name": arguments.teacher}
    if arguments.arch and "arch" in components:
        components["arch"] = arguments.arch
    result, text = WHAT[arguments.what](arguments, components)
    print(text)
    if arguments.json:
        from ppcore.io import write_json

        write_json(Path(arguments.json), result)
    if arguments.output:
        from benchmarks.bars import write

        write(Path(arguments.output), result, text)


if __name__ == "__main__":
    cli.run(main)

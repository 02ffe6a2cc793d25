"""Measures speed beside the peers and prints a table. What is measured stands in benchmarks/WHAT.yaml.

train: images/s of a ViT in training, every contender in its own process.
augment: images/s of a training pipeline on one core, beside the same steps on Pillow.
enhance: seconds and memory of a network that makes images, by size, engine and precision, beside a peer in torch.
distill: what a teacher adds to a training step, beside its own forward pass.

python tools/benchmark.py --what train
python tools/benchmark.py --what train --contenders ours paddleclas --rounds 3 --json train.json
python tools/benchmark.py --what augment --data folder/of/jpegs
python tools/benchmark.py --what distill --batch 8
python tools/benchmark.py --what enhance --peer torch_uhdfour.py --weights FILE --data folder/of/photographs
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


def train(arguments: argparse.Namespace, components: Components) -> tuple[dict[str, Any], str]:
    """The result and its text."""
    from benchmarks import classify

    result = classify.train(
        arguments.contenders or ["ours", "paddleclas", "torch"], batch=arguments.batch, size=arguments.size,
        steps=arguments.steps, rounds=arguments.rounds or 2, threads=arguments.threads, arch=components["arch"],
    )  # fmt: skip
    head = f"{result['model']}, batch {result['batch']}, {result['size']} px, {result['machine']}"
    return result, f"{head}\n{classify.table(result)}"


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
    result = benchmark.distill(**components, batch=arguments.batch, steps=arguments.steps)
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
        **components, contenders=arguments.contenders or list(benchmark.CONTENDERS), sizes=sizes,
        rounds=arguments.rounds or 1, threads=arguments.threads, weights_file=arguments.weights, peer=arguments.peer,
        peer_python=arguments.peer_python, photographs=photographs,
    )  # fmt: skip
    return result, benchmark.table(result)


WHAT = {"train": train, "augment": augment, "distill": distill, "enhance": enhance}


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=tuple(WHAT), required=True)
    parser.add_argument("--contenders", nargs="+", help="train: ours paddleclas torch; enhance: peer and engines")
    parser.add_argument("--batch", type=int, default=16, help="train, distill")
    parser.add_argument("--size", type=int, default=224, help="train, distill: pixels, a multiple of 16")
    parser.add_argument("--steps", type=int, default=5, help="train, distill: timed steps a round")
    parser.add_argument("--arch", help="train, enhance: another builder of the network")
    parser.add_argument("--teacher", help="distill: another builder of the teacher")
    parser.add_argument("--rounds", type=int, help="default: train 2, augment 9, enhance 1")
    parser.add_argument("--threads", type=int, default=runtime.available_cores(), help="train, distill, enhance")
    parser.add_argument("--data", metavar="FOLDER", help="augment, enhance: JPEGs; default: scikit-image's, none")
    parser.add_argument(
        "--sizes", nargs="+", default=["512x512", "1920x1080", "3840x2160"], help="enhance: WIDTHxHEIGHT"
    )
    parser.add_argument("--weights", metavar="FILE", help="enhance: trained weights")
    parser.add_argument("--peer", metavar="FILE", help="enhance: a file with the network in torch")
    parser.add_argument("--peer-python", default=sys.executable, help="enhance: an interpreter that has torch")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
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


if __name__ == "__main__":
    cli.run(main)

"""Measures speed beside the peers, each in its own process, and prints a table.

python tools/benchmark.py --what train
python tools/benchmark.py --what train --contenders ours paddleclas --rounds 3 --json train.json
"""

import argparse
from pathlib import Path

from ppcore import cli, runtime


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("train",), required=True, help="train: images/s of a DeiT-Ti-sized ViT")
    parser.add_argument("--contenders", nargs="+", default=["ours", "paddleclas", "torch"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="pixels, a multiple of 16")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=runtime.available_cores())
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    arguments = parser.parse_args()
    from ppcore.benchmark import run
    from ppcore.engine.events import write_json

    result = run.train(
        arguments.contenders, batch=arguments.batch, size=arguments.size, steps=arguments.steps,
        rounds=arguments.rounds, threads=arguments.threads, arch="ppvit.vit_tiny_patch16_224",
    )  # fmt: skip
    print(f"{result['model']}, batch {result['batch']}, {result['size']} px, {result['machine']}")
    print(run.table(result))
    if arguments.json:
        write_json(Path(arguments.json), result)


if __name__ == "__main__":
    cli.run(main)

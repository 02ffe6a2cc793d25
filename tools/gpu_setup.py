"""Checks a GPU set-up: before installing, whether a wheel fits the cards; after it, whether the cards compute.

python tools/gpu_setup.py wheel --paddle paddlepaddle-gpu==2.6.2 --index ""     (needs nothing but Python)
python tools/gpu_setup.py kernels

`make reproduce DEVICE=gpu` runs both.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the suite is not installed yet

from ppcore import cli
from ppcore.runtime import gpu_setup


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wheel", "kernels"))
    parser.add_argument("--paddle", default=gpu_setup.WHEELS[0].package, help="the wheel as pip takes it")
    parser.add_argument("--index", default="", help="where it is (default: PyPI)")
    arguments = parser.parse_args()
    if arguments.what == "wheel":
        print(gpu_setup.check(arguments.paddle, arguments.index))
    else:
        print(gpu_setup.try_kernels())


if __name__ == "__main__":
    cli.run(main)

"""Reproduces a paper and writes a report.

python tools/reproduce.py vit                                    quick: minutes, on a CPU, offline
python tools/reproduce.py my/paper.yaml --allow mypackage          a paper of your own
python tools/reproduce.py vit --scale full --table table5 --row "B/16 ImageNet-1k ImageNet" --gpus 0,1,2,3
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from pathlib import Path

from ppcore import cli


def main() -> int:
    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", help="a paper of papers/, such as vit, or the path of a paper's .yaml")
    parser.add_argument("--scale", choices=("quick", "full"), default="quick")
    parser.add_argument("--table", help="id of a published table (full scale)")
    parser.add_argument("--row", help="row of that table (full scale)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--gpus", help="cards for training at full scale, e.g. 0,1,2,3")
    parser.add_argument("-o", "--output", help="folder for runs and report (default: output/reproduce/PAPER)")
    cli.add_allow(parser)
    arguments = parser.parse_args()
    from ppcore.reproduce.paper_page import find_paper
    from ppcore.reproduce.reproduction import Reproduction

    page = find_paper(arguments.paper, repository=Path(__file__).resolve().parents[1])
    output = Path(arguments.output or f"output/reproduce/{page.name}")
    reproduction = Reproduction(page, output, arguments.device)
    full = arguments.scale == "full"
    report = reproduction.full(arguments.table, arguments.row, arguments.gpus) if full else reproduction.quick()
    print(f"\nOpen the report: {report}")
    return 0


if __name__ == "__main__":
    cli.run(main)

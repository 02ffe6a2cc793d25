"""Puts runs into one report: python tools/compare.py output/a output/b -o report/ --paper papers/vit.yaml"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import cli


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders written by tools/train.py")
    parser.add_argument("-o", "--output", required=True, help="folder of the report")
    parser.add_argument("--paper", help="published tables to set the runs beside, e.g. papers/vit.yaml")
    parser.add_argument("--fidelity", help="JSON list of fidelity rows to include")
    parser.add_argument("--title", default="Comparison of runs")
    args = parser.parse_args()
    from ppcore.report import ReportContent, load_paper, load_rows, read_run, write_report

    content = ReportContent(
        title=args.title,
        paper=load_paper(args.paper) if args.paper else None,
        runs=[read_run(path) for path in dict.fromkeys(args.runs)],
        fidelity=load_rows(args.fidelity) if args.fidelity else [],
    )
    print(write_report(args.output, content))


if __name__ == "__main__":
    cli.run(main)

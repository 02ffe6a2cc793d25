"""Evaluates a model on `DataLoader.Eval` and names the protocol beside the number.

python tools/eval.py -c configs/quick/vit_digits.yaml
python tools/eval.py -c FILE --weights weights.safetensors --json result.json
python tools/eval.py -c configs/uhdfour/classical.yaml        (a table: the methods of Baselines, which need no weights)
python tools/eval.py -c configs/llie/lol_eval15.yaml          (a table: Baselines, and Networks with their weights)
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

import json
from pathlib import Path

from ppcore import cli


def main() -> None:
    parser = cli.config_parser(__doc__)
    cli.add_weights_options(parser)
    parser.add_argument(
        "--json", metavar="FILE", help="also write the result as JSON, with the numbers of single images"
    )
    arguments, settings = cli.configured(parser)
    from ppcore.engine import evaluate, evaluators
    from ppcore.engine.evaluation_table import table
    from ppcore.io import write_json

    result = evaluate.run(settings, cli.named_weights(arguments))
    if "baselines" in result:
        print(
            f"{table(result, evaluators.metric_specs(settings))}\nprotocol: {result['protocol']}\nweights: {result['weights']}"
        )
    else:
        shown = {key: value for key, value in result.items() if key != "images"}  # those go to the file
        print(json.dumps(shown, indent=1, ensure_ascii=False))
    if arguments.json:
        write_json(Path(arguments.json), result)


if __name__ == "__main__":
    cli.run(main)

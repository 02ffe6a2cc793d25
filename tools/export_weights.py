"""Writes a model's weights in a layout colleagues load.

    python tools/export_weights.py -c FILE --layout timm --output vit.safetensors
    python tools/export_weights.py -c FILE --layout google --output vit.npz

Weights as in tools/eval.py. Layouts: paddle (ours), and those of the model, such as timm and google.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli


def main() -> None:
    parser = cli.config_parser(__doc__)
    cli.add_weights_options(parser)
    parser.add_argument("--layout", default="paddle", help="naming and array layout to write")
    parser.add_argument("--output", required=True, metavar="FILE", help=".safetensors, .pdparams or .npz")
    arguments, settings = cli.configured(parser)
    from ppcore import weights
    from ppcore.engine.trained import load_model

    weights.check_output(arguments.output)
    model, used = load_model(settings, cli.named_weights(arguments))
    weights.check_output(arguments.output, used.file)
    weights.save(model, arguments.output, layout=arguments.layout)
    print(f"{used} -> {arguments.output} ({arguments.layout})")


if __name__ == "__main__":
    cli.run(main)

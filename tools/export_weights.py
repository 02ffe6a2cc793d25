"""Writes a model's weights in a layout colleagues load, with a card beside them.

    python tools/export_weights.py -c FILE --layout timm --output vit.safetensors      (and vit.card.md, vit.card.json)
    python tools/export_weights.py -c FILE --layout google --output vit.npz
    python tools/export_weights.py -c FILE --layout transformers --output vit          (a folder)
    python tools/export_weights.py --list

Weights as in tools/eval.py. Layouts: paddle (ours), and those of the model, such as timm and google. Licence and origin on the
card are Export.licence and Export.origin, else what the file of the weights says.
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
    cli.add_layout_options(parser)
    parser.add_argument("--layout", default="paddle", help="naming and array layout to write")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help=".safetensors, .pdparams or .npz; a folder for transformers"
    )
    arguments, settings = cli.configured(parser)
    from ppcore.engine.run_provenance import provenance
    from ppcore.engine.trained import load_model
    from ppcore.weights import output

    target = output.Output(arguments.output, arguments.layout)
    target.check()
    model, used = load_model(settings, cli.named_weights(arguments), new_head=arguments.num_classes is not None)
    target.check(model, used.file)
    notes = [*used.notes, *target.write(model, provenance(settings, used, model=model))]
    for note in notes:
        print(f"note: {note}")
    print(f"{used} -> {arguments.output} ({arguments.layout})")


if __name__ == "__main__":
    cli.run(main)

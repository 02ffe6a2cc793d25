"""Runs a model on files, folders and globs: a classifier names them, a restoration network enhances them.

    python tools/infer.py -c FILE -o Infer.input=photo.jpg
    python tools/infer.py -c FILE -o "Infer.input=photos/*.jpg" -o Infer.output=out
    python tools/infer.py --export FOLDER photo.jpg more/*.jpg -o Infer.output=out Infer.precision=bf16

Classifiers print and write JSON (Infer.format: jsonl, csv), with -o Infer.rollout=true attention pictures too;
preprocessing is `DataLoader.Eval.transforms`. Enhanced photographs keep name, format, size, bit depth (8 or 16), EXIF
orientation, ICC profile and alpha, and never replace a file that the tool did not write; -o Infer.tile=512
needs less memory for the same result. -o Infer.engine and -o Infer.precision choose how either is computed; by
default the log says what does, and why. Weights as in tools/eval.py.

--export takes a folder of tools/export_model.py instead of a configuration: preprocessing and class names are in it, and
Paddle is not needed. -o then sets keys of the section Infer.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

import sys
from pathlib import Path

from ppcore import cli


def main() -> None:
    if any(argument.partition("=")[0] == "--export" for argument in sys.argv[1:]):
        return exported()
    parser = cli.config_parser(__doc__)
    cli.add_weights_options(parser)
    arguments, settings = cli.configured(parser)
    from ppcore.engine import predict

    predict.run(settings, cli.named_weights(arguments))
    return None


def exported() -> None:
    """The form with `--export`."""
    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", required=True, metavar="FOLDER", help="written by tools/export_model.py")
    parser.add_argument("images", nargs="*", help="files, folders and globs")
    cli.add_overrides(parser, "Infer.key=value", "keys of the section Infer")
    arguments = parser.parse_args()
    from ppcore import config
    from ppcore.engine import run_export

    run_export.run(Path(arguments.export), config.infer_section(arguments.override, arguments.images))


if __name__ == "__main__":
    cli.run(main)

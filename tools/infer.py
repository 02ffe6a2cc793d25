"""Runs a model on files, folders and globs: a classifier names them, a restoration network enhances them.

    python tools/infer.py -c FILE -o Infer.input=photo.jpg
    python tools/infer.py -c FILE -o "Infer.input=photos/*.jpg" -o Infer.output=out

Classifiers print and write JSON, with -o Infer.rollout=true attention pictures too; preprocessing is
`DataLoader.Eval.transforms`. Enhanced photographs keep name, format, size, bit depth (8 or 16), EXIF
orientation, ICC profile and alpha, and never replace a file that the tool did not write; -o Infer.tile=512
needs less memory for the same result. -o Infer.engine and -o Infer.precision choose how either is computed; by
default the log says what does. Weights as in tools/eval.py.
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
    arguments, settings = cli.configured(parser)
    from ppcore.engine import predict

    predict.run(settings, cli.named_weights(arguments))


if __name__ == "__main__":
    cli.run(main)

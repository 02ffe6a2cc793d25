"""Classifies files, folders and globs; prints and writes JSON, optionally attention pictures.

    python tools/infer.py -c FILE -o Infer.input=photo.jpg
    python tools/infer.py -c FILE -o "Infer.input=photos/*.jpg" -o Infer.output=out -o Infer.rollout=true

Preprocessing is `DataLoader.Eval.transforms`. Weights as in tools/eval.py.
"""

from ppcore import runtime

runtime.configure()

from ppcore import cli, config


def main() -> None:
    parser = cli.config_parser(__doc__)
    parser.add_argument("--weights", metavar="FILE", help="weight file or step folder (default: the run's best)")
    arguments = parser.parse_args()
    settings = config.load(arguments.config, arguments.override)
    from ppcore.engine import predict

    predict.run(settings, arguments.weights)


if __name__ == "__main__":
    cli.run(main)

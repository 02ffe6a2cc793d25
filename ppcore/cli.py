"""How every tool ends: the exit statuses and the one-line errors are decided here and nowhere else.

Importing this needs nothing but Python: the look at a GPU's set-up comes before anything is installed.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ppcore.errors import ConfigError, ConfigErrors, PPError, Stopped, reason

if TYPE_CHECKING:
    from ppcore.config import Config, Pretrained

_REFERENCE = "Every section and key of a configuration: docs/configuration.md. Components: tools/list.py."

# What a disk or its owner says no with.
_OUTSIDE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose complaints are one line, like all other complaints of the tools."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"epilog": _REFERENCE, **kwargs})

    def parse_args(self, *args: Any, **kwargs: Any) -> argparse.Namespace:
        """The arguments; what `--allow` says is in force from here on."""
        arguments = super().parse_args(*args, **kwargs)
        if allowed := getattr(arguments, "allow", ()):
            from ppcore.config import roles

            for package in allowed:
                roles.allow(package)
        return arguments

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Calls `main` and exits: its status (None is 0), 2 after `error: …` for a `PPError`, 130 when interrupted.

    An extension module that is interrupted while it is imported raises an ImportError from the KeyboardInterrupt.
    A full disk or a file that may not be read or written ends like bad input. Any other exception is a defect of the
    suite, not of the input: it is left alone and shows its traceback.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # a closed pipe shows here rather than at interpreter exit, where it cannot be caught
    except PPError as error:
        for line in error.messages if isinstance(error, ConfigErrors) else [error]:
            print(f"error: {line}", file=sys.stderr)
        status = 2
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        status = 128 + stopped.number
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader (`| head`) has left. Give the interpreter's last flush somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{reason(error)}", file=sys.stderr)
        status = 2
    except Exception as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def config_parser(doc: str) -> Parser:
    """A parser with the options every configured tool has; `configured` reads them."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-c", "--config", action="append", required=True, metavar="FILE",
        help="YAML configuration; may be repeated: each over those before it",
    )  # fmt: skip
    add_overrides(parser, "Section.key=value", "change keys of the configuration")
    add_allow(parser)
    parser.add_argument(
        "--print-config", action="store_true", help="print the resolved configuration with its defaults, and end"
    )
    return parser


def add_weights_options(parser: Parser) -> None:
    """Adds `--weights` and `--source`, which name the weights of a configured tool."""
    parser.add_argument(
        "--weights", metavar="FILE",
        help="weight file, step or run folder (default: the run's best checkpoint, else its latest, else Global.pretrained)",
    )  # fmt: skip
    parser.add_argument("--source", help="layout of the file of --weights, such as timm (default: ours)")


def named_weights(arguments: argparse.Namespace) -> "Pretrained | None":
    """What `--weights` and `--source` say.

    Raises:
        ConfigError: a layout without a file.
    """
    from ppcore.config import Pretrained

    if arguments.weights is not None:
        return Pretrained(path=arguments.weights, source=arguments.source)
    if arguments.source is not None:
        raise ConfigError(f"--source {arguments.source} is the layout of the file that --weights names: give both")
    return None


def configured(parser: Parser) -> "tuple[argparse.Namespace, Config]":
    """The arguments of a tool and the configuration they name; ends the process where it is only to be printed."""
    arguments = parser.parse_args()
    from ppcore import config

    settings = config.load(
        arguments.config, [*arguments.override, *(f"Arch.{key}={value}" for key, value in sizes(arguments).items())]
    )
    if arguments.print_config:
        print(settings.to_yaml(defaults=True), end="")
        sys.exit(0)
    return arguments, settings


class _List(argparse.Action):
    """Prints the layouts and the models that have them, and ends; no other option is needed."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, *ignored: Any) -> NoReturn:
        from ppcore.config import catalogue, roles

        for package in namespace.allow:
            roles.allow(package)
        print(catalogue.layouts_text(), flush=True)
        sys.exit(0)


def add_layout_options(parser: Parser) -> None:
    """Adds `--list`, and `--num-classes` and `--image-size`, which change what weights are for; `sizes` reads these."""
    parser.add_argument(
        "--list", action=_List, nargs=0, help="print layouts and models (with --allow before it), and end"
    )
    parser.add_argument(
        "--num-classes", type=int, metavar="N", help="outputs of the classifier: another number makes a fresh one"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="S",
        help="height and width of the images: the position embedding is resampled",
    )


def sizes(arguments: argparse.Namespace) -> dict[str, int]:
    """What `--num-classes` and `--image-size` say, as arguments of a builder."""
    said = {"num_classes": vars(arguments).get("num_classes"), "img_size": vars(arguments).get("image_size")}
    return {key: value for key, value in said.items() if value is not None}


def add_overrides(parser: Parser, metavar: str, what: str) -> None:
    """Adds `-o`, which takes one text or several and may be repeated."""
    parser.add_argument(
        "-o", "--override", action="extend", nargs="+", default=[], metavar=metavar, help=f"{what}; may be repeated"
    )  # fmt: skip


def add_allow(parser: Parser) -> None:
    """Adds `--allow`."""
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PACKAGE",
        help="a package on Python's path whose components the configuration may name; may be repeated",
    )  # fmt: skip

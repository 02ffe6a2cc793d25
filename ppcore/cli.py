"""How every tool ends: the exit statuses and the one-line errors are decided here and nowhere else."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from ppcore.errors import ConfigError, PPError


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose complaints are one line, like all other complaints of the tools."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Calls `main` and exits: its status (None is 0), 2 after `error: …` for a `PPError`, 130 when interrupted.

    Any other exception is a defect of the suite, not of the input: it is left alone and shows its traceback.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # a closed pipe shows here rather than at interpreter exit, where it cannot be caught
    except PPError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader (`| head`) has left. Give the interpreter's last flush somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)


def config_parser(doc: str) -> Parser:
    """A parser with the options every configured tool has: `-c FILE` and repeatable `-o Section.key=value`."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="YAML configuration")
    parser.add_argument(
        "-o", "--override", action="append", default=[], metavar="Section.key=value",
        help="change one key of the configuration; may be repeated",
    )  # fmt: skip
    return parser

"""How every tool ends: the exit statuses and the one-line errors are decided here and nowhere else."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from ppcore.errors import ConfigError, PPError, Stopped, reason

# What a disk or its owner says no with.
_OUTSIDE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose complaints are one line, like all other complaints of the tools."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Calls `main` and exits: its status (None is 0), 2 after `error: …` for a `PPError`, 130 when interrupted.

    A full disk or a file that may not be read or written ends like bad input. Any other exception is a defect of the
    suite, not of the input: it is left alone and shows its traceback.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # a closed pipe shows here rather than at interpreter exit, where it cannot be caught
    except PPError as error:
        print(f"error: {error}", file=sys.stderr)
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


def add_weights_options(parser: Parser) -> None:
    """Adds `--weights` and `--source`, which name the weights of a configured tool."""
    parser.add_argument(
        "--weights", metavar="FILE",
        help="weight file, step or run folder (default: the run's best checkpoint, else its latest, else Global.pretrained)",
    )  # fmt: skip
    parser.add_argument("--source", help="layout of the file of --weights, such as timm (default: ours)")

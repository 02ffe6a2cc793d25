"""Errors a user can mend. Each message is one line: what is wrong, where, what to do."""

import difflib
from collections.abc import Iterable, Sequence


class PPError(Exception):
    """Bad input. The tools print `error: <message>` and exit with status 2."""


class ConfigError(PPError, ValueError):
    """A YAML file, an override or a command-line argument is wrong."""


class ConfigErrors(ConfigError):
    """Several mistakes of one configuration; the tools print each on a line of its own.

    Attributes:
        messages: one line each.
    """

    def __init__(self, messages: Sequence[str]):
        super().__init__("; ".join(messages))
        self.messages = list(messages)


class DataError(PPError):
    """An image, a label or a dataset is missing, unreadable or out of range."""


class UnreadableImage(DataError):
    """The pixels of one image cannot be had; a loader may leave the sample out."""


class WeightsError(PPError):
    """A weight file cannot be read safely or does not fit the model."""


class OutputError(PPError):
    """A file or a folder cannot be written."""


class CheckpointError(PPError):
    """A run's checkpoint is missing, damaged or belongs to another configuration."""


class Stopped(Exception):
    """A signal asked the program to end, and everything has been put away.

    Args:
        number: the signal's.
        message: what was saved and how to go on.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number


def reason(error: Exception) -> str:
    """Why something failed, in one line: the system's words for an OSError."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the closest of `names`, or an empty string."""
    match = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" (did you mean '{match[0]}'?)" if match else ""


def raise_all(messages: Sequence[str]) -> None:
    """Raises what is wrong with a configuration, if anything is.

    Raises:
        ConfigError: one message.
        ConfigErrors: several.
    """
    if len(messages) == 1:
        raise ConfigError(messages[0])
    if messages:
        raise ConfigErrors(messages)

"""What a network takes of a photograph, and how large its result is."""

import math
from dataclasses import dataclass
from typing import Literal

from ppcore.errors import ConfigError


@dataclass(frozen=True)
class PhotoForm:
    """How a photograph becomes a network's input, and the network's output a photograph.

    Attributes:
        channels: `rgb`; or `y`, the luma of 16 to 235 (BT.601) alone, while the colours are enlarged by bicubic
            interpolation. A grey photograph is its own Y.
        scale: sides of the result over those of the photograph.
        enlarged_first: whether the photograph is enlarged before the network, by bicubic interpolation; else the network
            enlarges it.
    """

    channels: Literal["rgb", "y"] = "rgb"
    scale: float = 1
    enlarged_first: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        return math.ceil(height * self.scale), math.ceil(width * self.scale)


AS_IT_IS = PhotoForm()


def form_of(
    network: str, *, channels: int, scale: int, enlarged_first: bool, wanted: float | None, key: str = "scale"
) -> PhotoForm:
    """The form for a network and the scale that is wanted.

    Args:
        network: its name, for messages.
        channels: that it takes.
        scale: output pixels of an input pixel, on each side.
        enlarged_first: whether what it is given has been enlarged.
        wanted: the scale that was asked for; None: the network's own.
        key: what that argument is called, for messages.

    Raises:
        ConfigError: no scale where one is needed, or one that the network does not have; or it takes neither colours nor Y.
    """
    if channels not in (1, 3):
        raise ConfigError(f"{network} takes {channels} channels: a photograph has three colours, or Y alone")
    kind: Literal["rgb", "y"] = "y" if channels == 1 else "rgb"
    if enlarged_first:
        if wanted is None:
            raise ConfigError(
                f"{key} is not set: {network} is given photographs that are enlarged already, by any factor: choose one, "
                f"such as {key}=3"
            )
        return PhotoForm(kind, wanted, enlarged_first=True)
    if wanted not in (None, scale):
        does = f"enlarges by {scale}" if scale > 1 else "does not enlarge"
        raise ConfigError(f"{key} is {wanted:g}, but {network} {does}: leave it out, or take a network that fits")
    return PhotoForm(kind, scale)

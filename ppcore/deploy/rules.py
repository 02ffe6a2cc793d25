"""What a predictor must know of an exported model beside its graphs. No Paddle here: a predictor may run without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Padding:
    """The sizes the first stage takes; an image is extended to one by reflection and cut back at the end.

    Attributes:
        multiple: each side is a multiple of it,
        least: and at least this long,
        least_either: and one of the two at least this long, else both are made so.
    """

    multiple: int = 1
    least: int = 1
    least_either: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The padded size."""
        height, width = (max(-(-size // self.multiple) * self.multiple, self.least) for size in (height, width))
        if max(height, width) < self.least_either:
            return self.least_either, self.least_either
        return height, width


@dataclass(frozen=True)
class Strips:
    """How the last stage may run piece by piece, which bounds its memory.

    Attributes:
        stage: its name.
        axis: of its inputs that is cut.
        channels: axis of its inputs that holds the channels.
        output_axis: of its output that this becomes.
        scale: output pixels of one input pixel.
        halo: input pixels beyond a piece that its output depends on.
    """

    stage: str
    axis: int
    channels: int
    output_axis: int
    scale: int
    halo: int

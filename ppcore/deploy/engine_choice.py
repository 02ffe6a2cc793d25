"""Which engine computes which photographs under `Infer.engine=auto`: a function of their sizes, from measurements.

OpenVINO compiles for every size it meets, onnxruntime once for all. OpenVINO then computes a wide network a little
faster and needs a third of the memory. Measured with UHDFour on two cores at 0.24 to 8.3 megapixels (RESULTS.md).
"""

from collections import Counter
from collections.abc import Iterable

Size = tuple[int, int]

COMPILE = 3.5  # seconds OpenVINO takes to compile for a size (2.6 to 3.9)
LOAD = 2.0  # seconds onnxruntime takes to prepare, once (1.7 to 2.5)
SAVED = 0.1  # seconds a megapixel that OpenVINO is faster (0.08 to 0.2; with a narrow network none)
LARGE = (
    6.0  # megapixels from which OpenVINO's memory decides: onnxruntime takes 2.3 GB there (377 bytes a pixel for 113)
)
KEPT = 4  # sizes that OpenVINO keeps ready; beyond, sizes that alternate would be compiled again and again


def choose(sizes: Iterable[Size]) -> dict[Size, str]:
    """`openvino` or `onnxruntime` for each size: OpenVINO where a size is large, or repeats enough to pay for compiling.

    Args:
        sizes: (height, width) of every photograph as the network sees it, repeats included.
    """
    count = Counter(sizes)
    won = {size: number * megapixels(size) * SAVED - COMPILE for size, number in count.items()}
    large = {size for size in count if megapixels(size) >= LARGE}
    paying = sorted((size for size in count if size not in large and won[size] > 0), key=lambda size: -won[size])
    compiled = large | set(paying[: max(KEPT - len(large), 0)])
    rest = [size for size in count if size not in compiled]
    # Without any other size onnxruntime need not be prepared, which may outweigh what compiling loses.
    if len(count) <= KEPT and sum(won[size] for size in rest) + LOAD > 0:
        compiled |= set(rest)
    return {size: "openvino" if size in compiled else "onnxruntime" for size in count}


def explain(sizes: Iterable[Size], chosen: dict[Size, str]) -> str:
    """One line: how many photographs each engine computes, and why."""
    count = Counter(sizes)
    parts = []
    for engine, name, why in (
        ("onnxruntime", "onnxruntime", f"OpenVINO would compile for each size, about {COMPILE:g} s"),
        ("openvino", "OpenVINO", "compiled for a size that is large or repeats"),
    ):
        mine = [size for size in count if chosen[size] == engine]
        if mine:
            number = sum(count[size] for size in mine)
            parts.append(f"{name} for {_of(number, 'photograph')} of {_of(len(mine), 'size')} ({why})")
    return "; ".join(parts)


def megapixels(size: Size) -> float:
    """Of a photograph."""
    return size[0] * size[1] / 1e6


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

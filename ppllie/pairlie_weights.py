"""The official PairLIE layout: names of the released file; arrays are as ours."""

from ppcore.weights import WeightMap
from ppcore.weights.layouts import CONV, VECTOR, Table, map_of

_NETS = {"illumination": "L_net", "reflectance": "R_net", "denoise": "N_net"}


def _table() -> Table:
    # Each convolution there follows a padding and precedes a ReLU, which count as layers: 1, 4, 7, 10, 13.
    return [
        (rf"{ours}\.convs\.{place}\.{part}", f"{theirs}.{theirs}.{3 * place + 1}.{part}", kind)
        for ours, theirs in _NETS.items()
        for place in range(5)
        for part, kind in (("weight", CONV), ("bias", VECTOR))
    ]


def weight_maps() -> dict[str, WeightMap]:
    """The layouts `ppcore.weights` reaches through the model."""
    return {"pairlie": map_of(_table(), "pairlie", framework="pt", heads=())}

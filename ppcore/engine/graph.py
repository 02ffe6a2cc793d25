"""The network's graph in VisualDL."""

import warnings
from copy import deepcopy

import paddle
import paddle.nn as nn

from ppcore.engine.logger import Events, log


def add_graph(events: Events, model: nn.Layer, shape: list[int]) -> None:
    """Writes the graph of `model`, for images [B, C, H, W] of a shape, into the run's VisualDL records.

    VisualDL (2.5.3) reads the program format of Paddle 2; Paddle 3 writes another one. There the
    log says so in one line and no graph is written.
    """
    if events.vdl is None:
        return
    if int(paddle.__version__.split(".")[0]) >= 3:
        log.info("VisualDL graph not written: VisualDL reads Paddle 2 programs, this is Paddle %s", paddle.__version__)
        return
    copy = deepcopy(model)  # VisualDL replaces the forward of what it is given
    copy.eval()
    spec = paddle.static.InputSpec([1, *shape[1:]], "float32")
    with warnings.catch_warnings():
        # VisualDL names the input twice and leaves a file for the collector to close.
        warnings.filterwarnings("ignore", message="full_graph=False")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        events.vdl.add_graph(model=copy, input_spec=[spec])

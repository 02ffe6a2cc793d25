"""The network's graph in VisualDL."""

import warnings

import paddle
import paddle.nn as nn

from ppcore.engine.events import Events, log


def add_graph(events: Events, model: nn.Layer, image: paddle.Tensor) -> None:
    """Writes the graph of `model` into the run's VisualDL records.

    VisualDL (2.5.3) reads the program format of Paddle 2; Paddle 3 writes another one. There the
    log says so in one line and no graph is written.
    """
    if events.vdl is None:
        return
    if int(paddle.__version__.split(".")[0]) >= 3:
        log.info("VisualDL graph not written: VisualDL reads Paddle 2 programs, this is Paddle %s", paddle.__version__)
        return
    was_training = model.training
    model.eval()
    spec = paddle.static.InputSpec([1, *image.shape[1:]], "float32")
    with warnings.catch_warnings():
        # VisualDL gives jit.save an input_spec it does not need to give twice.
        warnings.filterwarnings("ignore", message="full_graph=False")
        events.vdl.add_graph(model=model, input_spec=[spec])
    if was_training:
        model.train()

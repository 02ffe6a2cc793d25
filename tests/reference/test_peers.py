"""The peers that `tools/benchmark.py --what enhance` times compute what ours do, with the same weights."""

import importlib.util
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppcore import weights
from ppcore.config import components

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("arch", "channels"),
    [
        ({"name": "ppllie.PairLIE"}, 3),
        ({"name": "ppllie.MBLLEN"}, 3),
        ({"name": "ppsr.fsrcnn", "scale": 4}, 1),
        ({"name": "ppsr.vdsr"}, 1),
    ],
)
def test_a_peer_is_our_network(arch, channels):
    paddle.seed(3)
    ours, name = components.build(arch), arch["name"].partition(".")[2].lower()
    for parameter in ours.parameters():  # no bias is zero
        parameter.set_value(parameter + 0.02 * paddle.randn(parameter.shape))
    ours.eval()
    path = Path(__file__).parent / f"peer_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    net = peer.Net(weights.export(ours, layout=name))
    x = np.random.default_rng(0).random((1, channels, 29, 34), np.float32) * np.float32(0.3)
    with torch.no_grad(), paddle.no_grad():
        theirs, y = net(torch.from_numpy(x))[0].numpy(), ours(paddle.to_tensor(x)).numpy()
    assert y.max() - y.min() > 0.01  # not all cut off at 0
    np.testing.assert_allclose(theirs, y, rtol=0, atol=1e-5 * np.abs(y).max())

"""The deployed FSRCNN against the network itself, for every scale, shift and border."""

import numpy as np
import paddle
import pytest
from sr_reference import image, randomized

import ppsr
from ppsr.deployed_fsrcnn import DeployedFSRCNN
from ppsr.sub_pixel import SubPixel


@pytest.mark.parametrize("border", ["replicate", "zero"])
@pytest.mark.parametrize(("scale", "shift"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 3), (5, 2), (9, 0)])
def test_computes_the_network(scale, shift, border):
    network = randomized(ppsr.FSRCNN(scale=scale, shift=shift, border=border, d=5, s=3, m=1))
    x = paddle.to_tensor(image(2, 1, 7, 6))
    want, got = network(x).numpy(), DeployedFSRCNN(network)(x).numpy()
    assert got.shape == want.shape == (2, 1, 7 * scale, 6 * scale)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_needs_as_many_taps_as_the_kernel_covers():
    """9 taps at a stride of 4 are of three small pixels; at a stride of 2 of five."""
    sizes = {scale: SubPixel(ppsr.fsrcnn(scale).deconv, 4).conv.weight.shape[2] for scale in (2, 3, 4)}
    assert sizes == {2: 5, 3: 4, 4: 3}

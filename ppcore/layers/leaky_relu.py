"""LeakyReLU that every engine computes alike."""

import paddle


def leaky_relu(x: paddle.Tensor, slope: float = 0.1) -> paddle.Tensor:
    """LeakyReLU of a slope below 1, as a maximum.

    Paddle Inference's fused form of the operator crashes (3.3.1), and Paddle2ONNX (2.1.0) writes it with a slope of 0.01.
    """
    return paddle.maximum(x, slope * x)

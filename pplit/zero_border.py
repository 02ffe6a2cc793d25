"""Zeros around a map, in operations that every exported graph has right."""

import paddle


def with_zeros(x: paddle.Tensor, *, above: int = 0, below: int = 0, left: int = 0, right: int = 0) -> paddle.Tensor:
    """[B, H, W, C] -> [B, above + H + below, left + W + right, C].

    Put together of rows and columns: of `paddle.nn.functional.pad` on such maps Paddle2ONNX 2.1 leaves the value
    uninitialised, so that the same program gives another file each time, some of them with a border of 1e15.
    """
    row = paddle.zeros_like(x[:, :1])
    x = paddle.concat([row] * above + [x] + [row] * below, axis=1) if above or below else x
    column = paddle.zeros_like(x[:, :, :1])
    return paddle.concat([column] * left + [x] + [column] * right, axis=2) if left or right else x

"""Norms of gradients, and gradients scaled by them."""

import paddle


@paddle.no_grad()
def clip_grad_norm(parameters: list, max_norm: float | None) -> paddle.Tensor:
    """Global L2 norm of the gradients; with `max_norm`, they are scaled by min(1, max/(norm + 1e-6)).

    One factor for all tensors (ViT appendix B.1 "global norm 1"), not one a tensor.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = [widened(g).square().sum() for g in gradients]
    norm = paddle.sqrt(paddle.add_n(squares))
    if max_norm is not None:
        factor = paddle.clip(max_norm / (norm + 1e-6), max=1.0)
        factors = {kind: factor.astype(kind) for kind in {gradient.dtype for gradient in gradients}}
        for gradient in gradients:
            gradient.multiply_(factors[gradient.dtype])
    return norm


@paddle.no_grad()
def clip_each_grad(parameters: list, max_norm: float) -> None:
    """Scales the gradient of every tensor by its own min(1, max/(norm + 1e-6)), as DINO does."""
    for gradient in (p.grad for p in parameters if p.grad is not None):
        norm = paddle.sqrt(widened(gradient).square().sum())
        gradient.multiply_(paddle.clip(max_norm / (norm + 1e-6), max=1.0).astype(gradient.dtype))


def widened(tensor: paddle.Tensor) -> paddle.Tensor:
    """A tensor in float32: itself where it is (Paddle's `astype` would copy it)."""
    return tensor if tensor.dtype == paddle.float32 else tensor.astype("float32")

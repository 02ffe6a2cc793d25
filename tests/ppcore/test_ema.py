"""The average follows the weights in float32, and leaves the model as it was."""

import numpy as np
import paddle
import pytest

from ppcore.ema import EMA
from ppvit import VisionTransformer


def model_with_buffers() -> paddle.nn.Layer:
    paddle.seed(3)
    return paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4), paddle.nn.Linear(4, 2))


def randomise(model, rng):
    with paddle.no_grad():
        for _, t in model.state_dict().items():
            t.set_value(paddle.to_tensor(rng.standard_normal(t.shape).astype("float32")).astype(t.dtype))


def test_equals_a_numpy_oracle_over_20_steps():
    rng, model = np.random.default_rng(0), model_with_buffers()
    ema = EMA(model, 0.9)
    want = {name: t.numpy().astype(np.float64) for name, t in model.state_dict().items()}
    for _ in range(20):
        randomise(model, rng)
        ema.update()
        for name, t in model.state_dict().items():
            want[name] = 0.9 * want[name] + 0.1 * t.numpy()
    assert set(ema.shadow) == set(want)
    for name, array in want.items():
        np.testing.assert_allclose(ema.shadow[name].numpy(), array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_it_starts_as_a_copy_without_bias_correction():
    model = model_with_buffers()
    ema = EMA(model, 0.5)
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(ema.shadow[name].numpy(), t.numpy())
    before = model[0].weight.numpy().copy()
    with paddle.no_grad():
        model[0].weight.set_value(paddle.zeros([3, 4]))
    # A copy, not a view of the live weights.
    np.testing.assert_array_equal(ema.shadow["0.weight"].numpy(), before)
    ema.update()
    np.testing.assert_allclose(ema.shadow["0.weight"].numpy(), before / 2, rtol=1e-6)


def test_buffers_are_followed_too():
    model = model_with_buffers()
    ema = EMA(model, 0.75)
    assert {"1._mean", "1._variance"} <= set(ema.shadow)
    with paddle.no_grad():
        model[1]._mean.set_value(paddle.full([4], 8.0))
    ema.update()
    np.testing.assert_allclose(ema.shadow["1._mean"].numpy(), np.full(4, 2.0), rtol=1e-6)
    with ema.applied():
        np.testing.assert_allclose(model[1]._mean.numpy(), np.full(4, 2.0), rtol=1e-6)
    np.testing.assert_array_equal(model[1]._mean.numpy(), np.full(4, 8.0, np.float32))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("masters", [False, True])
def test_it_moves_at_a_decay_of_0_9999_when_the_model_is_half_precision(dtype, masters):
    # In half precision 0.9999·w rounds back to w: PaddleClas's O2 average never moves.
    model = paddle.nn.Linear(4, 4)
    with paddle.no_grad():
        model.weight.set_value(paddle.ones([4, 4]))
    model.to(dtype=dtype)
    ema = EMA(model, 0.9999)
    assert all(t.dtype == paddle.float32 for t in ema.shadow.values())
    with paddle.no_grad():
        model.weight.set_value(paddle.full([4, 4], 2.0).astype(dtype))
    exact = paddle.full([4, 4], 2.001)  # 2.001 is not a number of either half type
    given = {model.weight.name: exact} if masters else None
    for _ in range(3):
        ema.update(given)
    target = 2.001 if masters else 2.0
    want = target + (1.0 - target) * 0.9999**3
    got = ema.shadow["weight"].numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert abs(got - 1.0).min() > 1e-4
    with ema.applied():
        assert str(model.weight.dtype).endswith(dtype)
    np.testing.assert_array_equal(model.weight.astype("float32").numpy(), np.full((4, 4), 2.0, np.float32))


@pytest.mark.gpu  # Paddle has no bfloat16 AdamW on a CPU
def test_masters_of_the_optimiser_are_found_by_name():
    """What an optimiser keeps under O2 is what `update` looks up."""
    model = paddle.nn.Linear(4, 4)
    model.to(dtype="bfloat16")
    optimizer = paddle.optimizer.AdamW(learning_rate=1e-4, parameters=model.parameters(), multi_precision=True)
    model(paddle.ones([2, 4], dtype="bfloat16")).sum().backward()
    optimizer.step()
    masters = optimizer._master_weights
    assert set(masters) == {p.name for p in model.parameters()}
    ema = EMA(model, 0.0)  # the average is the latest weights
    ema.update(masters)
    got = ema.shadow["weight"].numpy()
    np.testing.assert_array_equal(got, masters[model.weight.name].numpy())
    assert (got != model.weight.astype("float32").numpy()).any()


def test_applied_restores_bit_for_bit_also_after_an_exception():
    rng = np.random.default_rng(5)
    model = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=2, num_classes=3)
    ema = EMA(model, 0.9)
    randomise(model, rng)
    ema.update()
    live = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    shadow = {name: t.numpy().copy() for name, t in ema.shadow.items()}
    with ema.applied() as averaged:
        assert averaged is model
        for name, t in model.state_dict().items():
            np.testing.assert_array_equal(t.numpy(), shadow[name], err_msg=name)
            assert (t.numpy() != live[name]).any(), name

    def fail():
        with ema.applied():
            raise KeyError("evaluation failed")

    with pytest.raises(KeyError, match="evaluation failed"):
        fail()
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), live[name], err_msg=name)
        np.testing.assert_array_equal(ema.shadow[name].numpy(), shadow[name], err_msg=name)


def test_gradients_and_stop_gradient_are_untouched():
    model = paddle.nn.Linear(2, 2)
    model.bias.stop_gradient = True
    ema = EMA(model, 0.9)
    model(paddle.ones([1, 2])).sum().backward()
    gradient = model.weight.grad.numpy().copy()
    ema.update()
    with ema.applied():
        pass
    assert not model.weight.stop_gradient
    assert model.bias.stop_gradient
    assert all(t.stop_gradient for t in ema.shadow.values())
    np.testing.assert_array_equal(model.weight.grad.numpy(), gradient)


def test_update_and_swap_stay_on_the_device(monkeypatch):
    # On a GPU, Paddle 2.6's set_value takes a tensor through the host: of a ViT-B 86 million values an update.
    rng, model = np.random.default_rng(2), model_with_buffers()
    ema = EMA(model, 0.9)
    start = ema.shadow["0.weight"].numpy()
    randomise(model, rng)
    live = model[0].weight.numpy()

    def to_host(*_):
        raise AssertionError("a tensor goes through the host")

    with monkeypatch.context() as patch:
        for name in ("set_value", "numpy", "tolist", "item", "cpu"):
            patch.setattr(paddle.Tensor, name, to_host)
        ema.update()
        with ema.applied():
            pass
    want = start * np.float32(0.9) + live * np.float32(1.0 - 0.9)  # to the bit
    np.testing.assert_array_equal(ema.shadow["0.weight"].numpy(), want)
    np.testing.assert_array_equal(model[0].weight.numpy(), live)

"""FSRCNN: against numpy with kernels laid on the large image one by one, the shift of x3, slopes, and layouts."""

import numpy as np
import paddle
import pytest
from sr_reference import convolution, image, parameters, prelu, randomized, run, seen_from

import ppcore.weights
import ppsr
from ppcore.errors import ConfigError, WeightsError

TINY = dict(d=5, s=3, m=2)


def reference(model: ppsr.FSRCNN, x: np.ndarray, shift: int) -> np.ndarray:
    """Each small pixel, those one beyond the edge too, lays its kernel on the large image, centred at scale·i + shift."""
    y = x.astype(np.float64)
    for conv, slope in zip(model.convs, model.slopes, strict=True):
        y = prelu(convolution(y, conv, model.border), slope)
    kernel, scale = model.deconv.weight.numpy().astype(np.float64)[:, 0], model.scale
    height, width = y.shape[1:]
    around, far = (1 if model.border == "replicate" else 0), 20
    canvas = np.zeros((height * scale + 2 * far, width * scale + 2 * far))
    for i in range(-around, height + around):
        for j in range(-around, width + around):
            pixel = y[:, np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)]
            top, left = (far + scale * place + shift - 4 for place in (i, j))
            canvas[top : top + 9, left : left + 9] += np.tensordot(pixel, kernel, 1)
    return canvas[far:-far, far:-far][None] + float(model.deconv.bias.numpy()[0])


def test_has_the_papers_parameters():
    assert parameters(ppsr.fsrcnn()) == 12_644
    assert parameters(ppsr.fsrcnn(slopes="channel")) == 12_809
    assert parameters(ppsr.fsrcnn_s()) == 4_016
    assert parameters(ppsr.fsrcnn_s(slopes="channel")) == 4_086
    weights = [p.size for p in ppsr.fsrcnn().parameters() if p.ndim > 1]
    assert sum(weights) == 12_464, "the paper counts weights alone"


@pytest.mark.parametrize("slopes", ["layer", "channel"])
@pytest.mark.parametrize("border", ["replicate", "zero"])
@pytest.mark.parametrize(
    ("scale", "given", "shift"), [(2, None, 0), (3, None, 1), (4, None, 0), (3, 0, 0), (2, 1, 1), (4, 3, 3)]
)
def test_is_the_network_in_numpy(scale, given, shift, border, slopes):
    """Without a shift given: the authors', which is 1 at x3 alone."""
    model = randomized(ppsr.FSRCNN(scale=scale, shift=given, border=border, slopes=slopes, **TINY))
    x = image(1, 7, 9)
    want = reference(model, x, shift)
    assert want.shape == (1, 7 * scale, 9 * scale)
    np.testing.assert_allclose(run(model, x), want, rtol=0, atol=3e-6 * np.abs(want).max())


def test_trains_with_a_border_of_its_own():
    network = randomized(ppsr.FSRCNN(scale=3, d=5, s=3, m=1, training_border="zero"))
    zero = ppsr.FSRCNN(scale=3, d=5, s=3, m=1, border="zero")
    zero.set_state_dict(network.state_dict())
    x = paddle.to_tensor(image(1, 1, 7, 8))
    evaluated = network(x)
    network.train()
    np.testing.assert_allclose(network(x).numpy(), zero(x).numpy(), rtol=1e-5, atol=1e-6)
    assert float((network(x) - evaluated).abs().max()) > 1e-3


def test_a_wrong_shift_is_another_image():
    """What costs the authors' weights 6.8 dB at x3: nothing but the place of the kernels."""
    model, other = (randomized(ppsr.FSRCNN(scale=3, shift=shift, **TINY)) for shift in (None, 0))
    one, two = run(model, image(1, 9, 9)), run(other, image(1, 9, 9))
    assert np.abs(one - two).max() > 0.1 * np.abs(one).max()
    np.testing.assert_allclose(one[:, 10:20, 10:20], two[:, 9:19, 9:19], atol=1e-5)


def test_slopes_are_not_cut():
    model = randomized(ppsr.fsrcnn(2, **TINY))
    for value in (-0.9, 2.9):
        for slope in model.slopes:
            slope._weight.set_value(np.float32([value]))
        x = image(1, 6, 6)
        np.testing.assert_allclose(run(model, x), reference(model, x, 0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(2, 0), (3, 1), (3, 0), (4, 0), (4, 3), (2, 1)])
def test_sees_as_far_as_it_says(scale, shift):
    model = randomized(ppsr.FSRCNN(scale=scale, shift=shift, **TINY))
    first, last = seen_from(model, 1, 31)
    assert max(15 - first, last - 15) == model.reach


def test_the_last_layer_alone_can_be_trained():
    model = ppsr.fsrcnn(4, trained="last", last_rate=0.1)
    assert parameters(model) == 56 * 81 + 1
    model.train()
    model(paddle.to_tensor(image(1, 1, 6, 6))).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["deconv.weight", "deconv.bias"]
    assert model.deconv.weight.optimize_attr["learning_rate"] == 0.1


def matlab(model: ppsr.FSRCNN) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, written out entry by entry."""
    found = {}
    layers = [conv.weight.numpy() for conv in model.convs]
    # Of the transposed one each kernel is stored as it is laid on the image, 'one channel to d'.
    layers.append(model.deconv.weight.numpy())
    for place, weight in enumerate(layers, 1):
        outputs, inputs, size, _ = weight.shape
        array = np.empty((inputs, size * size, outputs))
        for row in range(size):
            for column in range(size):
                array[:, column * size + row, :] = weight[:, :, row, column].T
        found[f"weights_conv/{place}"] = array
    for place, layer in enumerate([*model.convs, model.deconv], 1):
        found[f"biases_conv/{place}"] = layer.bias.numpy()[:, None]
    for place, slope in enumerate(model.slopes, 1):
        found[f"prelu_conv/{place}"] = slope._weight.numpy().reshape(1, 1)
    return found


class TestLayouts:
    def test_the_authors_both_ways(self):
        model, fresh = randomized(ppsr.fsrcnn(3, **TINY)), ppsr.fsrcnn(3, **TINY)
        arrays = matlab(model)
        assert arrays["weights_conv/1"].shape == (1, 25, 5)
        assert arrays["weights_conv/6"].shape == (1, 81, 5)
        state = ppcore.weights.convert(arrays, source="fsrcnn", model=fresh)
        fresh.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
        fresh.eval()
        x = image(1, 6, 8)
        np.testing.assert_array_equal(run(fresh, x), run(model, x))
        back = ppcore.weights.export(model, layout="fsrcnn")
        assert set(back) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array.astype(np.float32), err_msg=name)

    def test_slopes_of_another_kind_are_named(self):
        model = ppsr.fsrcnn(3, slopes="channel", **TINY)
        with pytest.raises(WeightsError, match=r"misshapen slopes\.0\._weight"):
            ppcore.weights.convert(matlab(ppsr.fsrcnn(3, **TINY)), source="fsrcnn", model=model)

    def test_yjn870(self):
        model = randomized(ppsr.fsrcnn(3, slopes="channel"))
        arrays = ppcore.weights.export(model, layout="yjn870")
        shapes = {name: array.shape for name, array in arrays.items()}
        assert len(shapes) == 23
        assert shapes["first_part.1.weight"] == (56,)
        assert shapes["mid_part.0.weight"] == (12, 56, 1, 1)
        assert shapes["mid_part.8.weight"] == (12, 12, 3, 3)
        assert shapes["mid_part.10.weight"] == (56, 12, 1, 1)
        assert shapes["mid_part.11.weight"] == (56,)
        assert shapes["last_part.weight"] == (56, 1, 9, 9)
        state = ppcore.weights.convert(arrays, source="yjn870", model=ppsr.fsrcnn(3, slopes="channel"))
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)


@pytest.mark.parametrize(
    "options", [{"scale": 1}, {"scale": 3, "shift": 3}, {"scale": 3, "border": "valid"}, {"scale": 3, "m": 0}]
)
def test_says_what_it_does_not_take(options):
    with pytest.raises(ConfigError, match=f"FSRCNN: {list(options)[-1]} is"):
        ppsr.FSRCNN(**options)

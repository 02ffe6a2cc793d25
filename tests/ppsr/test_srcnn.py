"""SRCNN: against numpy at every border, the loss of its middle, its layouts, and what it does not take."""

import numpy as np
import paddle
import pytest
from sr_reference import convolution, image, parameters, randomized, run, seen_from

import ppcore.weights
import ppsr
from ppcore import optim
from ppcore.errors import ConfigError, DataError, WeightsError
from ppcore.weights import save_arrays


def small(form: str = "9-3-5", **options) -> ppsr.SRCNN:
    return randomized(ppsr.SRCNN(form=form, widths=(5, 3), **options))


def reference(model: ppsr.SRCNN, x: np.ndarray, border: str) -> np.ndarray:
    y = x.astype(np.float64)
    y = np.maximum(convolution(y, model.conv1, border), 0)
    y = np.maximum(convolution(y, model.conv2, border), 0)
    return convolution(y, model.conv3, border)


@pytest.mark.parametrize(
    ("build", "count"), [(ppsr.srcnn_915, 8_129), (ppsr.srcnn_935, 24_513), (ppsr.srcnn_955, 57_281)]
)
def test_has_the_papers_parameters(build, count):
    assert parameters(build()) == count


@pytest.mark.parametrize("border", ["replicate", "zero", "valid"])
@pytest.mark.parametrize("form", ["9-1-5", "9-3-5", "9-5-5"])
def test_is_the_network_in_numpy(form, border):
    model, x = small(form, border=border), image(1, 19, 23)
    want = reference(model, x, border)
    np.testing.assert_allclose(run(model, x), want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_the_borders_are_three_functions():
    x = image(1, 19, 23)
    outputs = {border: run(small(border=border), x) for border in ("replicate", "zero", "valid")}
    reach = small().reach
    assert outputs["valid"].shape == (1, 19 - 2 * reach, 23 - 2 * reach)
    assert np.abs(outputs["zero"] - outputs["replicate"]).max() > 0.01
    for border in ("replicate", "zero"):  # and one in the middle
        np.testing.assert_allclose(outputs[border][:, reach:-reach, reach:-reach], outputs["valid"], atol=1e-6)


def test_sees_as_far_as_it_says():
    for form, reach in (("9-1-5", 6), ("9-3-5", 7), ("9-5-5", 8)):
        model = small(form)
        for parameter in model.parameters():
            parameter.set_value(parameter.abs())  # no ReLU cuts anything
        assert model.reach == reach
        assert seen_from(model, 1, 31) == (15 - reach, 15 + reach)


def test_trains_on_the_middle_and_is_evaluated_whole():
    """The paper's: crops of 33 pixels, labels of 21 (9-1-5)."""
    model = small("9-1-5", training_border="valid")
    x, target = paddle.to_tensor(image(2, 1, 33, 33)), paddle.to_tensor(image(2, 1, 33, 33, seed=1))
    assert model(x).shape == [2, 1, 33, 33]
    whole = model(x).numpy()
    model.train()
    y = model(x)
    assert y.shape == [2, 1, 21, 21]
    want = np.square(whole[:, :, 6:-6, 6:-6] - target.numpy()[:, :, 6:-6, 6:-6]).mean()
    assert float(ppsr.SquaredError()(y, {"target": target})) == pytest.approx(want, rel=1e-5)


def test_begins_as_the_paper_and_its_last_layer_learns_slower():
    paddle.seed(0)
    model = ppsr.srcnn_955(last_rate=0.1)
    assert float(model.conv2.weight.std()) == pytest.approx(1e-3, rel=0.02)
    assert not model.conv2.bias.numpy().any()
    optimizer = optim.make(model, optim.SGD, weight_decay=0.0, no_weight_decay=[])
    optimizer.set_lr(1.0)
    randomized(model)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    ppsr.SquaredError()(
        model(paddle.to_tensor(image(1, 1, 20, 20))), {"target": paddle.zeros([1, 1, 20, 20])}
    ).backward()
    slopes = {name: p.grad.numpy() for name, p in model.named_parameters()}
    optimizer.step()
    for name, p in model.named_parameters():
        rate = 0.1 if name.startswith("conv3") else 1.0
        np.testing.assert_allclose(p.numpy(), before[name] - rate * slopes[name], rtol=1e-4, atol=1e-6, err_msg=name)


def matlab(model: ppsr.SRCNN) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, written out entry by entry: MATLAB counts a kernel's pixels down its columns."""
    found = {}
    for place, layer in enumerate((model.conv1, model.conv2, model.conv3), 1):
        weight = layer.weight.numpy().astype(np.float64)
        outputs, inputs, size, _ = weight.shape
        array = np.empty((inputs, size * size, outputs))
        for row in range(size):
            for column in range(size):
                array[:, column * size + row, :] = weight[:, :, row, column].T
        found[f"weights_conv{place}"] = array[0] if place == 1 else array if place == 2 else array[:, :, 0]
        found[f"biases_conv{place}"] = layer.bias.numpy().astype(np.float64)[:, None]
    return found


class TestLayouts:
    def test_the_authors_both_ways(self, tmp_path):
        model, fresh = small(), ppsr.SRCNN(form="9-3-5", widths=(5, 3))
        fresh.eval()
        arrays = matlab(model)
        assert {name: a.shape for name, a in arrays.items()} == {
            "weights_conv1": (81, 5), "weights_conv2": (5, 9, 3), "weights_conv3": (3, 25),
            "biases_conv1": (5, 1), "biases_conv2": (3, 1), "biases_conv3": (1, 1),
        }  # fmt: skip
        save_arrays(tmp_path / "x3.safetensors", arrays)
        ppcore.weights.load(fresh, tmp_path / "x3.safetensors", source="srcnn")
        x = image(1, 12, 14)
        np.testing.assert_array_equal(run(fresh, x), run(model, x))
        back = ppcore.weights.export(model, layout="srcnn")
        assert set(back) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array.astype(np.float32), err_msg=name)

    def test_one_of_a_file_of_several(self, tmp_path):
        """As the authors' files lie in one: FORM/SCALE/name."""
        networks = {f"9-3-5(ImageNet)/x{scale}": randomized(small(), seed=scale) for scale in (2, 3)}
        arrays = {f"{key}/{name}": a for key, net in networks.items() for name, a in matlab(net).items()}
        path, fresh = tmp_path / "all.safetensors", ppsr.SRCNN(form="9-3-5", widths=(5, 3))
        save_arrays(path, arrays)
        notes = ppcore.weights.load(fresh, path, source="srcnn", key="9-3-5(ImageNet)/x3")
        assert "9-3-5(ImageNet)/x3" in notes[0]
        np.testing.assert_array_equal(fresh.conv2.weight.numpy(), networks["9-3-5(ImageNet)/x3"].conv2.weight.numpy())
        with pytest.raises(WeightsError, match=r"several networks.*--key.*9-3-5\(ImageNet\)/x2"):
            ppcore.weights.load(fresh, path, source="srcnn")
        with pytest.raises(WeightsError, match="no weights under '9-3-5/x3'"):
            ppcore.weights.load(fresh, path, source="srcnn", key="9-3-5/x3")

    def test_another_form_is_named(self):
        with pytest.raises(WeightsError, match=r"misshapen conv2\.weight"):
            ppcore.weights.convert(matlab(small()), source="srcnn", model=small("9-5-5"))

    def test_yjn870(self):
        model, fresh = small(), small()
        randomized(fresh, seed=3)
        arrays = ppcore.weights.export(model, layout="yjn870")
        assert set(arrays) == {f"conv{place}.{part}" for place in (1, 2, 3) for part in ("weight", "bias")}
        state = ppcore.weights.convert(arrays, source="yjn870", model=fresh)
        np.testing.assert_array_equal(state["conv2.weight"], model.conv2.weight.numpy())


@pytest.mark.parametrize(
    "options",
    [{"form": "9-5"}, {"border": "reflect"}, {"training_border": "none"}, {"widths": (4,)}, {"last_rate": 0.0}],
)
def test_says_what_it_does_not_take(options):
    with pytest.raises(ConfigError, match=f"SRCNN: {next(iter(options))} is"):
        ppsr.SRCNN(**options)


def test_too_small_an_image_without_padding_is_named():
    with pytest.raises(DataError, match="more than 14 pixels a side, got 14x30"):
        small(border="valid")(paddle.zeros([1, 1, 14, 30]))


@pytest.mark.parametrize("border", ["valid", "zero", "replicate"])
def test_the_last_convolution_is_the_same_in_training_and_evaluation(border):
    """On a CPU, training computes a convolution with one output channel in another form (`ppsr.borders`)."""
    paddle.seed(1)
    network = ppsr.SRCNN(form="9-1-5", border=border, widths=(4, 3))
    network.conv3.bias.set_value(paddle.to_tensor([0.3]))
    x = paddle.rand([2, 1, 15, 17])
    looks = paddle.rand([2, 1, *((3, 5) if border == "valid" else (15, 17))])
    found = []
    for mode in (network.train, network.eval):
        mode()
        y = network(x)
        network.clear_gradients()
        (y * looks).sum().backward()
        found.append([y, *(parameter.grad.clone() for parameter in network.parameters())])
    for trained, evaluated in zip(*found, strict=True):
        assert trained.shape == evaluated.shape
        np.testing.assert_allclose(trained.numpy(), evaluated.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("start", "spread"), [("paper", 1e-3), ("he", np.sqrt(2 / 81))])
def test_starts_as_it_says(start, spread):
    paddle.seed(0)
    network = ppsr.srcnn_915(init=start)
    assert float(network.conv1.weight.std()) == pytest.approx(spread, rel=0.05)
    assert float(network.conv1.bias.abs().max()) == 0

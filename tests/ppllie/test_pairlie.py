"""PairLIE against a plain numpy version of it: parts, losses, gradients, sizes, layout, export."""

import numpy as np
import paddle
import pytest
from scipy.signal import correlate2d

import ppcore.weights
from ppcore.deploy import Predictor, export_model
from ppcore.errors import ConfigError, WeightsError
from ppllie import PairLIE, PairLIELoss

NETS = ("illumination", "reflectance", "denoise")


@pytest.fixture
def model():
    """A narrow network with weights large enough that every layer matters, in training mode, float64."""
    paddle.set_default_dtype("float64")
    network = PairLIE(width=4)
    paddle.set_default_dtype("float32")
    rng = np.random.default_rng(3)
    for parameter in network.parameters():
        parameter.set_value(0.2 * rng.standard_normal(parameter.shape))
    network.train()
    return network


def images(seed: int, height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).random((2, 3, height, width)) * 0.4


def state(model: PairLIE) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def plain(arrays: dict, net: str, x: np.ndarray) -> np.ndarray:
    """One of the three networks in numpy: [B, 3, H, W] to [B, K, H, W]."""
    for place in range(5):
        weight, bias = arrays[f"{net}.convs.{place}.weight"], arrays[f"{net}.convs.{place}.bias"]
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect")
        x = np.stack(
            [
                [bias[k] + sum(correlate2d(p, w, "valid") for p, w in zip(image, weight[k], strict=True)) for k in range(len(weight))]
                for image in padded
            ]
        )  # fmt: skip
        x = np.maximum(x, 0) if place < 4 else 1 / (1 + np.exp(-x))
    return x


def parts(arrays: dict, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = plain(arrays, "denoise", image)
    return plain(arrays, "illumination", x), plain(arrays, "reflectance", x), x


def plain_loss(arrays: dict, first: np.ndarray, second: np.ndarray, divisor: np.ndarray | None = None) -> float:
    """The loss as the paper's page writes it; `divisor` stands for L where no gradient passes."""
    light, reflectance, x = parts(arrays, first)
    other = parts(arrays, second)[1]
    divisor = light if divisor is None else divisor
    retinex = ((light * reflectance - x) ** 2).mean() + ((reflectance - x / divisor) ** 2).mean()
    retinex += ((light[:, 0] - first.max(1)) ** 2).mean()
    retinex += np.abs(np.roll(light, -2, 2) - light)[:, :, :-2].mean()
    retinex += np.abs(np.roll(light, -2, 3) - light)[:, :, :, :-2].mean()
    return float(((reflectance - other) ** 2).mean() + retinex + 500 * ((first - x) ** 2).mean())


def loss(model: PairLIE, first: np.ndarray, second: np.ndarray) -> paddle.Tensor:
    first, second = paddle.to_tensor(first), paddle.to_tensor(second)
    return PairLIELoss()((*model(first), model.reflect(second)), {"image": first})


def test_has_the_papers_parameters():
    counts = {name: sum(p.size for p in getattr(PairLIE(), name).parameters()) for name in NETS}
    assert counts == {"illumination": 113_153, "reflectance": 114_307, "denoise": 114_307}
    assert sum(counts.values()) == 341_767


def test_the_parts_are_numpys(model):
    for ours, theirs in zip(model(paddle.to_tensor(images(0))), parts(state(model), images(0)), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-11)


@pytest.mark.parametrize("gamma", [0.0, 0.14, 0.2, 1.0])
def test_the_enhanced_image_is_the_reflectance_under_a_raised_illumination(model, gamma):
    model.gamma = gamma
    model.eval()
    light, reflectance, _ = parts(state(model), images(1))
    np.testing.assert_allclose(model(paddle.to_tensor(images(1))).numpy(), light**gamma * reflectance, rtol=1e-6)


def test_the_loss_is_numpys(model):
    assert float(loss(model, images(0), images(1))) == pytest.approx(
        plain_loss(state(model), images(0), images(1)), rel=1e-11
    )


def test_every_gradient_is_a_difference_quotient_without_that_of_the_divisor(model):
    loss(model, images(0), images(1)).backward()
    arrays, rng, step = state(model), np.random.default_rng(5), 1e-5
    divisor = parts(arrays, images(0))[0]
    for name, parameter in model.named_parameters():
        direction = rng.standard_normal(arrays[name].shape)
        ends = (
            plain_loss({**arrays, name: arrays[name] + side * step * direction}, images(0), images(1), divisor)
            for side in (1, -1)
        )
        slope = (next(ends) - next(ends)) / (2 * step)
        assert float((parameter.grad.numpy() * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_the_weights_of_the_terms_are_options(model):
    first = paddle.to_tensor(images(0))
    outputs = (*model(first), model.reflect(paddle.to_tensor(images(1))))
    terms = PairLIELoss().terms(outputs, first)
    weights = {
        "consistency": 3.0,
        "product": 5.0,
        "quotient": 0.5,
        "brightest": 0.0,
        "smoothness": 11.0,
        "projection": 7.0,
    }
    expected = sum(weight * float(terms[name]) for name, weight in weights.items())
    assert float(PairLIELoss(**weights)(outputs, {"image": first})) == pytest.approx(expected, rel=1e-6)


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigError, match="smoothness"):
        PairLIELoss(smoothness=-1.0)


def test_it_can_start_as_an_image_under_flat_light():
    ramp = paddle.linspace(0.0, 1.0, 256).reshape([1, 1, 16, 16])
    image = paddle.concat([ramp, ramp.flip(2), ramp.flip(3)], axis=1)
    network = PairLIE(width=26, start="flat_light")
    light, reflectance, x = network.decompose(image)
    assert float((x - image).abs().max()) < 0.05
    assert float((x - image).abs()[image < 0.3].max()) < 0.01
    assert float((light - 1 / 8).abs().max()) < 0.05
    assert float((reflectance - (8 * image).clip(max=0.97)).abs().max()) < 0.1
    sum(part.sum() for part in (light, reflectance, x)).backward()
    trained = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {"illumination", "reflectance"}
    with pytest.raises(ConfigError, match="width is 23"):
        PairLIE(width=23, start="flat_light")
    with pytest.raises(ConfigError, match="start"):
        PairLIE(start="other")


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 3), (17, 8)], ids=str)
def test_any_size_comes_back(size):
    network = PairLIE(width=4)
    network.eval()
    x = paddle.rand([2, 3, *size])
    y = network(x)
    assert y.shape == [2, 3, *size]
    # A side of one pixel counts as two of the same.
    twice = x if min(size) > 1 else paddle.concat([x, x], 2) if size[0] == 1 else x
    twice = paddle.concat([twice, twice], 3) if size[1] == 1 else twice
    np.testing.assert_allclose(y.numpy(), network(twice).numpy()[:, :, : size[0], : size[1]], rtol=1e-6)


def test_a_pixel_depends_on_what_is_ten_pixels_away_and_no_further(model):
    model.eval()
    image = images(0, 31, 31)[:1]
    image = paddle.to_tensor(image, stop_gradient=False)
    model(image)[0, :, 15, 15].sum().backward()
    rows, columns = np.nonzero(image.grad.numpy().any((0, 1)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 25, 5, 25)
    assert model.tail_reach == 10


def test_the_official_layout_goes_out_and_in(model):
    arrays = ppcore.weights.export(model, layout="pairlie")
    assert list(arrays)[:2] == ["L_net.L_net.1.weight", "L_net.L_net.1.bias"]
    assert set(arrays) == {
        f"{net}.{net}.{place}.{part}"
        for net in ("L_net", "R_net", "N_net") for place in (1, 4, 7, 10, 13) for part in ("weight", "bias")
    }  # fmt: skip
    np.testing.assert_array_equal(
        arrays["N_net.N_net.13.weight"], model.denoise.convs[4].weight.numpy().astype(np.float32)
    )
    fresh = PairLIE(width=4)
    found = ppcore.weights.convert(arrays, source="pairlie", model=fresh)
    assert {name: array.shape for name, array in found.items()} == {
        n: tuple(t.shape) for n, t in fresh.state_dict().items()
    }
    del arrays["R_net.R_net.7.bias"]
    with pytest.raises(WeightsError, match=r"reflectance\.convs\.2\.bias"):
        ppcore.weights.convert(arrays, source="pairlie", model=fresh)


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="gamma"):
        PairLIE(gamma=-0.1)
    with pytest.raises(ConfigError, match="width"):
        PairLIE(width=0)
    with pytest.raises(ConfigError, match="projection"):
        PairLIELoss(projection=-1.0)
    with pytest.raises(ConfigError, match=r"ppllie\.ExposurePairs"):
        PairLIELoss()(paddle.zeros([1, 3, 4, 4]), {"image": paddle.zeros([1, 3, 4, 4])})


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "paddle"])
def test_an_export_computes_the_same_whole_and_in_tiles(engine, tmp_path):
    if engine != "paddle":
        pytest.importorskip({"openvino": "openvino", "onnxruntime": "onnxruntime"}[engine])
        if paddle.__version__.startswith("2."):
            pytest.skip("ONNX export needs Paddle 3")
    network = PairLIE(width=8, gamma=0.14)
    rng = np.random.default_rng(1)
    for parameter in network.parameters():
        parameter.set_value((0.15 * rng.standard_normal(parameter.shape)).astype("float32"))
    network.eval()
    export_model(network, tmp_path / "export", formats=("paddle",) if engine == "paddle" else ("onnx",))
    for height, width, tile in ((1, 1, None), (3, 40, None), (64, 33, None), (64, 33, 7)):
        x = rng.random((1, 3, height, width), np.float32) * np.float32(0.3)
        with paddle.no_grad():
            wanted = network(paddle.to_tensor(x)).numpy()
        found = Predictor(tmp_path / "export", engine, tile=tile)(x)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@paddle.no_grad()
def test_the_eager_network_runs_in_tiles():
    from ppcore.deploy import tiles

    network = PairLIE(width=4)
    network.eval()
    x = paddle.rand([1, 3, 50, 20])
    np.testing.assert_allclose(tiles.run_eager(network, x, 8), network(x).numpy(), atol=1e-6)

"""SMG's pieces against their formulas in float64 numpy, the Canny target, the loss, the network of all of them, exports."""

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppcore.config import components
from ppcore.deploy import Predictor, export_model
from ppcore.errors import ConfigError
from ppllie import SMGStyle, SMGStyleLoss
from ppllie.canny_edges import CannyEdges, canny_edges
from ppllie.per_pixel_filter import filter_per_pixel
from ppllie.smg_loss import rcf_loss
from ppllie.smg_nets import AppearanceNet, StructureGuidance, StructureGuidedNet
from ppllie.spade import Spade


def tensor(array):
    return paddle.to_tensor(np.float32(array))


def arrays(model, seed=0):
    """Fills a model with weights large enough to matter, and returns them as float64."""
    rng, found = np.random.default_rng(seed), {}
    for name, p in model.named_parameters():
        spread = 0.3 if len(p.shape) == 1 else 1.2 / np.sqrt(np.prod(p.shape[1:]))
        p.set_value(np.float32(rng.standard_normal(p.shape) * spread))
        found[name] = p.numpy().astype(np.float64)
    return found


def convolve(w, name, x, stride=1, mode="constant"):
    """A layer's convolution of [C, H, W] that keeps the size, borders as numpy's `pad` says."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    reach = weight.shape[2] // 2
    wide = np.pad(x, ((0, 0), (reach,) * 2, (reach,) * 2), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def filtered(x, kernels):
    """Pixel by pixel, neighbours beyond the border being those at it."""
    channels, height, width = x.shape
    out = np.zeros_like(x)
    for c, i, j in np.ndindex(channels, height, width):
        for tap in range(9):
            row, column = np.clip(i + tap // 3 - 1, 0, height - 1), np.clip(j + tap % 3 - 1, 0, width - 1)
            out[c, i, j] += kernels[9 * c + tap, i, j] * x[c, row, column]
    return out


def spade(w, name, x, guide):
    normed = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    hidden = relu(convolve(w, f"{name}shared", guide))
    return normed * (1 + convolve(w, f"{name}gamma", hidden)) + convolve(w, f"{name}beta", hidden)


def guidance(w, name, x, edges):
    kernels = leaky(convolve(w, f"{name}kernels.first", leaky(convolve(w, f"{name}edge_conv", edges))))
    inner = convolve(w, f"{name}kernels.conv2", leaky(convolve(w, f"{name}kernels.conv1", kernels)))
    kernels = leaky(convolve(w, f"{name}kernels.last", kernels + inner))
    modulated = spade(w, f"{name}spade.", filtered(x, kernels), edges)
    return relu(convolve(w, f"{name}conv", modulated))


def shuffled(x):
    """Pixel shuffle by 2: channel 4c + 2i + j is the pixel (i, j) of each 2x2 block of channel c."""
    channels, height, width = x.shape
    blocks = x.reshape(channels // 4, 2, 2, height, width)
    return blocks.transpose(0, 3, 1, 4, 2).reshape(channels // 4, 2 * height, 2 * width)


def u_net(w, x, edges=None):
    one = relu(convolve(w, "down1", x))
    two = relu(convolve(w, "down2", one, stride=2))
    three = relu(convolve(w, "down3", two, stride=2))
    inner = relu(convolve(w, "bottom.0.conv1", three, mode="reflect"))
    z = three + convolve(w, "bottom.0.conv2", inner, mode="reflect")
    z = relu(shuffled(convolve(w, "up1", np.concatenate([z, three]))))
    if edges is not None:
        z = z + guidance(w, "guide1.", z, edges[:, ::2, ::2])
    z = relu(shuffled(convolve(w, "up2", np.concatenate([z, two]))))
    if edges is not None:
        z = z + guidance(w, "guide2.", z, edges)
    return convolve(w, "out", relu(convolve(w, "tail", np.concatenate([z, one]))))


def close(got, want):
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5 * np.abs(want).max())


class TestPieces:
    rng = np.random.default_rng(1)

    def test_per_pixel_filter(self):
        x, kernels = self.rng.standard_normal((2, 2, 5, 4)), self.rng.standard_normal((2, 18, 5, 4))
        want = np.stack([filtered(*pair) for pair in zip(x, kernels, strict=True)])
        close(filter_per_pixel(tensor(x), tensor(kernels)), want)

    def test_spade(self):
        x, guide = self.rng.standard_normal((2, 3, 6, 7)) * 3 + 1, self.rng.random((2, 2, 6, 7))
        model = Spade(3, guide_channels=2, hidden=5)
        w = arrays(model)
        want = np.stack([spade(w, "", *pair) for pair in zip(x, guide, strict=True)])
        close(model(tensor(x), tensor(guide)), want)

    def test_guidance(self):
        x, edges = self.rng.standard_normal((1, 3, 8, 6)), self.rng.random((1, 1, 8, 6))
        model = StructureGuidance(3)
        want = guidance(arrays(model), "", x[0], edges[0])[None]
        close(model(tensor(x), tensor(edges)), want)

    def test_networks(self):
        x, edges = self.rng.random((1, 6, 12, 16)), self.rng.random((1, 1, 12, 16))
        model = AppearanceNet(in_chans=6, width=2)
        want = u_net(arrays(model), x[0])[None]
        close(model(tensor(x)), want)
        model = StructureGuidedNet(width=2)
        want = u_net(arrays(model), x[0], edges[0])[None]
        close(model(tensor(x), tensor(edges)), want)

    def test_parameters(self):
        counts = [sum(p.size for p in model.parameters()) for model in (StructureGuidedNet(), AppearanceNet())]
        assert counts == [459_011, 1_144_643]

    def test_start_at_a_tenth_of_kaimings_spread(self):
        paddle.seed(0)
        for name, p in StructureGuidedNet(width=32).named_parameters():
            if len(p.shape) == 1:
                assert not p.numpy().any(), name
            elif p.size > 3000:
                wanted = 0.1 * np.sqrt(2 / np.prod(p.shape[1:]))
                assert p.numpy().std() == pytest.approx(wanted, rel=0.06), name


class TestEdges:
    def test_steps(self):
        """On a picture whose edges and thresholds can be said: a grey square on grey."""
        image = np.full((24, 24, 3), 100, np.uint8)
        image[8:16, 8:16] = 150
        edges = canny_edges(image)
        assert edges.dtype == np.uint8
        assert set(np.unique(edges)) == {0, 255}
        assert edges[7:17, 7:17].any(axis=0).all()
        assert not edges[:4].any()
        assert not edges[12, 12]
        assert (np.flatnonzero(edges[12] > 0) < 12).sum() == 3  # a line one pixel wide, dilated
        assert not canny_edges(np.full((9, 9, 3), 70, np.uint8)).any()

    def test_thresholds_follow_the_median(self):
        rng = np.random.default_rng(4)
        image = cv2.resize(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8), (60, 60))
        grey = np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)
        grey = cv2.GaussianBlur(grey, (3, 3), 0)
        middle = np.median(grey)

        def by(low, high):
            """With thresholds of so many medians, each pixel the largest of its neighbours."""
            thin = np.pad(cv2.Canny(grey, int(low * middle), int(high * middle)), 1)
            return np.max([thin[i : i + 60, j : j + 60] for i, j in np.ndindex(3, 3)], axis=0)

        got = canny_edges(image)
        assert 0.2 < (got > 0).mean() < 0.8
        assert (got != by(0.67, 1.33)).mean() < 0.005  # OpenCV's grey may round otherwise
        for other in ((0.5, 1.33), (0.8, 1.33), (0.67, 1.1), (0.67, 1.5)):
            assert (got != by(*other)).mean() > 0.01, other

    def test_as_a_transform(self):
        rng = np.random.default_rng(0)
        target = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (30, 24))
        components.check({"name": "ppllie.canny_edges.CannyEdges"}, "DataLoader.Train.transforms.edges")
        for pixels in (target, target.astype(np.uint16) << 8):
            edges = CannyEdges()({"image": pixels, "target": pixels})["edges"]
            assert edges.dtype == np.float32
            np.testing.assert_array_equal(edges, canny_edges(target)[None] / 255)
        with pytest.raises(ConfigError, match="no target"):
            CannyEdges()({"image": target})
        with pytest.raises(ConfigError, match="takes uint8"):
            CannyEdges()({"target": target / np.float32(255)})


class TestLoss:
    rng = np.random.default_rng(2)

    def rcf(self, edges, target):
        positive, negative = target.sum(), (1 - target).sum()
        weight = np.where(target == 1, negative, 1.1 * positive) / (positive + negative)
        return -(weight * np.where(target == 1, np.log(edges), np.log(1 - edges))).mean()

    def test_rcf(self):
        edges = self.rng.uniform(0.02, 0.98, (2, 1, 6, 5))
        target = np.float64(self.rng.random(edges.shape) < [[[[0.1]]], [[[0.4]]]])
        assert float(rcf_loss(tensor(edges), tensor(target))) == pytest.approx(self.rcf(edges, target), rel=1e-5)
        assert float(rcf_loss(tensor(edges), paddle.zeros([2, 1, 6, 5]))) == 0

    def test_total(self):
        result, initial, target = self.rng.random((3, 1, 3, 8, 8))
        edges, wanted = self.rng.uniform(0.1, 0.9, (1, 1, 8, 8)), np.float64(self.rng.random((1, 1, 8, 8)) < 0.3)
        node = {"name": "ppllie.SMGStyleLoss"}
        components.check(node, "Loss")
        batch = {"target": tensor(target), "edges": tensor(wanted)}
        got = components.build(node)(tuple(map(tensor, (result, initial, edges))), batch)
        want = 10 * ((result - target) ** 2).mean() + ((initial - target) ** 2).mean() + 5 * self.rcf(edges, wanted)
        assert float(got) == pytest.approx(want, rel=1e-5)

    def test_what_is_refused(self):
        image = paddle.zeros([1, 3, 8, 8])
        with pytest.raises(ConfigError, match="three outputs"):
            SMGStyleLoss()(image, {"target": image})
        with pytest.raises(ConfigError, match=r"no edges: add .*CannyEdges"):
            SMGStyleLoss()((image, image, image[:, :1]), {"target": image})


def network(**options):
    paddle.seed(0)
    return SMGStyle(**{"width": 2, "appearance_width": 2, "edge_width": 2} | options)


class TestNetwork:
    def test_is_made_of_its_parts(self):
        model = network()
        arrays(model, seed=3)
        x = tensor(np.random.default_rng(0).random((1, 3, 12, 8)) * 0.3)
        y, initial, edges = model(x)
        grey = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
        first = paddle.clip(x + model.appearance(x), 0, 1)
        drawn = F.sigmoid(model.edges(grey))
        second = paddle.clip(first + model.enhancement(paddle.concat([first, x], axis=1), drawn), 0, 1)
        for got, want in ((initial, first), (edges, drawn), (y, second)):
            np.testing.assert_allclose(got.numpy(), want.numpy(), atol=2e-6)
            assert want.numpy().std() > 0.01
        assert np.abs((second - first).numpy()).max() > 0.05

    @pytest.mark.parametrize("size", [(1, 1), (3, 10), (16, 8), (17, 30)])
    def test_any_size(self, size):
        model = network()
        x = paddle.rand([2, 3, *size])
        assert [output.shape for output in model(x)] == [[2, 3, *size], [2, 3, *size], [2, 1, *size]]
        model.eval()
        y = model(x)
        assert y.shape == x.shape
        assert 0 <= float(y.min()) <= float(y.max()) <= 1

    def test_starts_as_the_image(self):
        model, x = network(width=8, appearance_width=8), paddle.rand([1, 3, 16, 16])
        model.eval()
        assert float((model(x) - x).abs().max()) < 0.02

    def test_learns_an_image_and_its_edges(self):
        paddle.seed(0)
        rng = np.random.default_rng(0)
        picture = cv2.resize(rng.integers(40, 256, (4, 4, 3)).astype(np.uint8), (32, 32), interpolation=0)
        sample = CannyEdges()({"image": picture, "target": picture})
        target = picture.transpose(2, 0, 1)[None] / 255
        batch = {"target": tensor(target), "edges": tensor(sample["edges"][None])}
        model, criterion = SMGStyle(width=4, appearance_width=8, edge_width=8), SMGStyleLoss()
        optimizer = paddle.optimizer.Adam(1e-2, parameters=model.parameters())
        losses = []
        for _ in range(40):
            loss = criterion(model(tensor(0.2 * target)), batch)
            loss.backward()
            if not losses:
                assert all(float(p.grad.abs().max()) > 0 for n, p in model.named_parameters() if "weight" in n)
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss))
        assert losses[-1] < 0.5 * losses[0]
        y, _, edges = model(tensor(0.2 * target))
        assert float(((y - batch["target"]) ** 2).mean()) < 0.5 * ((0.8 * target) ** 2).mean()
        wanted = sample["edges"][None] > 0
        assert edges.numpy()[wanted].mean() > edges.numpy()[~wanted].mean() + 0.1

    def test_what_is_refused(self):
        for wrong in ({"width": 0}, {"appearance_width": 1.5}, {"edge_width": 0}, {"blocks": -1}):
            with pytest.raises(ConfigError, match=next(iter(wrong))):
                network(**wrong)

    def test_exports(self, tmp_path):
        model = network()
        arrays(model, seed=3)
        model.appearance.out.bias.set_value(np.float32([0.3, 0.4, 0.5]))
        formats = ("paddle",) if paddle.__version__.startswith("2.") else ("paddle", "onnx")
        export_model(model, tmp_path / "exported", formats)
        for size in ((1, 1), (18, 29)):
            x = np.random.default_rng(0).random((2, 3, *size), np.float32) * np.float32(0.4)
            want = model(paddle.to_tensor(x)).numpy()
            assert want.max() > 0.01
            for engine in ("paddle", "onnxruntime")[: len(formats)]:
                got = Predictor(tmp_path / "exported", engine)(x)
                np.testing.assert_allclose(got, want, atol=5e-6)

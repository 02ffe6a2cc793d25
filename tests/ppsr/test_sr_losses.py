"""The losses of super-resolution: squares of the middle, the content loss and its gradient, adversarial ones."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from sr_reference import image, random_vgg19

import ppsr
from ppcore.errors import ConfigError, WeightsError
from ppcore.weights import save_arrays
from ppsr.sr_losses import adversarial


class TestSquaredError:
    def test_reductions(self):
        y, target = image(3, 2, 5, 4), image(3, 2, 5, 4, seed=1)
        squares = np.square(y.astype(np.float64) - target)
        for reduction, want in (("mean", squares.mean()), ("sum", squares.sum()), ("per_image", squares.sum() / 2 / 3)):
            loss = ppsr.SquaredError(reduction=reduction)
            assert float(loss(paddle.to_tensor(y), {"target": paddle.to_tensor(target)})) == pytest.approx(
                want, rel=1e-6
            )

    def test_a_smaller_output_is_the_middle(self):
        target = image(2, 1, 11, 9)
        y = paddle.to_tensor(target[:, :, 3:-3, 2:-2])
        assert float(ppsr.SquaredError()(y, {"target": paddle.to_tensor(target)})) == 0

    @pytest.mark.parametrize("size", [(8, 9), (10, 13), (12, 9)])
    def test_what_is_no_middle_is_refused(self, size):
        with pytest.raises(ConfigError, match="not the middle of the target"):
            ppsr.SquaredError()(paddle.zeros([1, 1, *size]), {"target": paddle.zeros([1, 1, 11, 9])})

    def test_a_larger_output_is_cut_where_the_label_begins(self):
        y = image(2, 1, 21, 21)
        target = paddle.to_tensor(y[:, :, 1:20, 1:20])
        assert float(ppsr.SquaredError(output_at=1)(paddle.to_tensor(y), {"target": target})) == 0
        assert float(ppsr.SquaredError(output_at=0)(paddle.to_tensor(y), {"target": target})) > 1e-3
        with pytest.raises(ConfigError, match="does not fit into the output"):
            ppsr.SquaredError(output_at=3)(paddle.to_tensor(y), {"target": target})

    def test_says_what_it_does_not_take(self):
        with pytest.raises(ConfigError, match="SquaredError: reduction is 'max'"):
            ppsr.SquaredError(reduction="max")


# VGG19's convolutions by torchvision's numbers, and what pools come before them.
CONVS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
POOLED = (5, 10, 19, 28)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory) -> tuple[str, dict[str, np.ndarray]]:
    """A file as torchvision's `vgg19`, with random weights and a stump of a classifier."""
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    return str(path), random_vgg19(path)


def features(x: paddle.Tensor, arrays: dict[str, np.ndarray], last: int) -> paddle.Tensor:
    """After the ReLU of a convolution, of images in [0, 1], normalised as torchvision's example does."""
    channels = [
        (x[:, i] - mean) / std for i, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))
    ]
    x = paddle.stack(channels, axis=1)
    for number in CONVS[: CONVS.index(last) + 1]:
        if number in POOLED:
            x = F.max_pool2d(x, 2)
        weight, bias = (paddle.to_tensor(arrays[f"features.{number}.{part}"]) for part in ("weight", "bias"))
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
    return x


class TestContentLoss:
    @pytest.mark.parametrize(("tap", "last"), [("conv5_4", 34), ("conv2_2", 7)])
    def test_is_the_mean_square_of_scaled_features(self, vgg, tap, last):
        path, arrays = vgg
        y, target = (paddle.to_tensor(image(1, 3, 32, 32, seed=seed)) for seed in (0, 1))
        want = F.mse_loss(features(y, arrays, last) / 12.75, features(target, arrays, last) / 12.75)
        loss = ppsr.ContentLoss(vgg_weights=path, tap=tap)
        assert float(loss(y, {"target": target})) == pytest.approx(float(want), rel=1e-4)
        whole = ppsr.ContentLoss(vgg_weights=path, tap=tap, scale=1.0, content=2.0, pixel=3.0)
        want = 2 * 12.75**2 * float(want) + 3 * float(F.mse_loss(y, target))
        assert float(whole(y, {"target": target})) == pytest.approx(want, rel=1e-4)

    def test_its_gradient_is_real(self, vgg):
        """A known code wraps the value in a new tensor, and trains without it."""
        path, arrays = vgg
        target = paddle.to_tensor(image(1, 3, 32, 32, seed=1))
        gradients = []
        for compute in (
            lambda y: ppsr.ContentLoss(vgg_weights=path)(y, {"target": target}),
            lambda y: F.mse_loss(features(y, arrays, 34), features(target, arrays, 34)) / 12.75**2,
        ):
            y = paddle.to_tensor(image(1, 3, 32, 32), stop_gradient=False)
            compute(y).backward()
            gradients.append(y.grad.numpy())
        assert np.abs(gradients[1]).max() > 0
        np.testing.assert_allclose(gradients[0], gradients[1], rtol=0, atol=1e-4 * np.abs(gradients[1]).max())

    def test_vgg_does_not_learn(self, vgg):
        loss = ppsr.ContentLoss(vgg_weights=vgg[0], tap="conv2_2")
        assert all(p.stop_gradient for p in loss.vgg.parameters())

    def test_the_fifth_scale_must_be_in_the_file(self, vgg, tmp_path):
        short = {name: array for name, array in vgg[1].items() if not name.startswith("features.34")}
        save_arrays(tmp_path / "short.safetensors", short, {"format": "pt"})
        ppsr.ContentLoss(vgg_weights=str(tmp_path / "short.safetensors"), tap="conv4_4")
        with pytest.raises(WeightsError, match=r"missing features\.34\.weight"):
            ppsr.ContentLoss(vgg_weights=str(tmp_path / "short.safetensors"))

    def test_says_what_it_does_not_take(self):
        with pytest.raises(ConfigError, match=r"Loss\.vgg_weights.*vgg19-dcbb9e9d\.pth"):
            ppsr.ContentLoss()
        for options in ({"tap": "conv6_1"}, {"scale": 0.0}, {"pixel": -1.0}):
            with pytest.raises(ConfigError, match=f"ContentLoss: {next(iter(options))} is"):
                ppsr.ContentLoss(vgg_weights="x", **options)


class TestAdversarial:
    @pytest.mark.parametrize("real", [True, False])
    def test_is_the_cross_entropy(self, real):
        logits = np.linspace(-6, 5, 12).reshape(-1, 1)
        share = 1 / (1 + np.exp(-logits))
        want = -np.log(share if real else 1 - share).mean()
        assert float(adversarial(paddle.to_tensor(logits.astype(np.float32)), real)) == pytest.approx(want, rel=1e-6)

    def test_stays_finite_and_linear_where_a_logit_is_sure(self):
        for value, real, want, slope in (
            (-200.0, True, 200.0, -1.0),
            (200.0, False, 200.0, 1.0),
            (200.0, True, 0.0, 0.0),
            (0.0, True, np.float32(np.log(2)), -0.5),
        ):
            logits = paddle.to_tensor([[value]], stop_gradient=False)
            loss = adversarial(logits, real)
            loss.backward()
            assert (float(loss), logits.grad.numpy().item()) == (want, slope)

"""The linear probe: its head against torch's rules in numpy, its training, and what it reports."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from ppcore.metrics import WeightedKNN
from ppcore.metrics.features import features_of
from ppssl import DINOVisionTransformer, LinearProbe, MaskedAutoencoder, cifar_resnet18
from ppssl.linear_probe import _rate
from ppssl.probe_head import FeatureNorm, ProbeHead


class Points:
    """Vectors as images of one pixel."""

    def __init__(self, values, labels):
        self.values, self.labels = np.asarray(values, np.float32), np.asarray(labels)

    def __len__(self):
        return len(self.labels)


def clouds(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return Points(np.eye(3)[labels] * [1, 50, 1000] + rng.standard_normal((count, 3)) * [0.2, 10, 200] + 7, labels)


def run_over(test):
    def batches(part, images):
        yield {"image": images.values, "label": images.labels, "index": np.arange(len(images))}

    return SimpleNamespace(
        images=test, facts={}, batches=batches, forward=lambda model, x: model(paddle.to_tensor(x)),
        config=SimpleNamespace(DataLoader=SimpleNamespace(Eval=None)), world=SimpleNamespace(gather=lambda x: [x]),
    )  # fmt: skip


@paddle.no_grad()
def measured(**options):
    """As the engine calls it: without gradients."""
    test = clouds(90, 1)
    run = run_over(test)
    given = dict(train=clouds(120, 0), epochs=10, batch_size=40, base_lrs=[4.0]) | options
    ((spec, value),) = LinearProbe(**given).evaluate(lambda x: x, run)
    assert spec.key == "linear"
    return value, run.facts


class TestHead:
    def test_training_normalises_by_the_batch_and_keeps_unbiased_variances(self):
        rng = np.random.default_rng(2)
        x = (5 + 3 * rng.standard_normal((8, 4))).astype(np.float32)
        norm = FeatureNorm(4)
        y = norm(paddle.to_tensor(x)).numpy()
        np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-5)
        norm.eval()
        want = (x - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + 1e-6)
        np.testing.assert_allclose(norm(paddle.to_tensor(x)).numpy(), want, rtol=1e-5)

    def test_the_norm_has_nothing_to_train(self):
        names = [name for name, p in ProbeHead(6, 3).named_parameters() if not p.stop_gradient]
        assert names == ["linear.weight", "linear.bias"]

    def test_published_counts(self):
        for width, count in ((768, 769_000), (1024, 1_025_000), (1280, 1_281_000)):
            with paddle.LazyGuard():
                assert sum(p.size for p in ProbeHead(width, 1000).linear.parameters()) == count


@pytest.mark.parametrize("optimizer", ["lars", "momentum", "nesterov"])
def test_learns(optimizer):
    # The trust ratio takes steps of a thousandth of the weights' length.
    options = {"epochs": 60, "base_lrs": [60.0]} if optimizer == "lars" else {}
    accuracy, facts = measured(optimizer=optimizer, **options)
    assert accuracy > 0.9
    assert facts["n"] == 90


def test_the_best_rate_is_reported():
    accuracy, facts = measured(base_lrs=[1e-7, 4.0], optimizer="momentum")
    assert facts["linear_lr"] == 4.0
    assert accuracy == measured(base_lrs=[4.0], optimizer="momentum")[0]


def test_the_same_whatever_the_generator():
    """And Paddle's generator, which is the training's, is not drawn from."""
    paddle.seed(5)
    one = measured(epochs=2, optimizer="momentum")
    drawn = paddle.rand([3]).numpy()
    paddle.seed(5)
    head_draws = ProbeHead(3, 3)  # what building the head draws
    assert head_draws.linear.bias.shape == [3]
    np.testing.assert_array_equal(paddle.rand([3]).numpy(), drawn)
    paddle.seed(99)
    assert measured(epochs=2, optimizer="momentum") == one


def test_the_norm_matters_where_scales_differ():
    assert measured(optimizer="momentum")[0] > measured(optimizer="momentum", norm=False)[0] + 0.1


def test_warm_up_and_cosine():
    rates = [_rate(step, 2.0, 4, 12) for step in range(12)]
    np.testing.assert_allclose(rates[:5], [0, 0.5, 1, 1.5, 2])
    assert rates[8] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 200}, "there are 120 images"),
        ({"base_lrs": []}, "base_lrs"),
        ({"base_lrs": [-1.0]}, "base_lrs"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"epochs": 0}, "epochs"),
        ({"patch_mean": True}, "patch_mean"),
        ({"last_blocks": 2}, "last_blocks is 2, which function has not"),
    ],
)
def test_refusals(options, said):
    with pytest.raises(ConfigError, match=said):
        measured(**options)


@paddle.no_grad()
def test_reads_the_last_blocks_of_dino():
    """Features of the linear evaluation: 2 x 8 channels, and for one block class token and mean interleaved."""
    model = DINOVisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2)
    model.eval()
    x = paddle.randn([3, 3, 8, 8])
    given = dict(train=clouds(40, 0), batch_size=40)
    two = LinearProbe(**given, last_blocks=2).read(model)(x).numpy()
    np.testing.assert_allclose(two[:, 8:], model(x).numpy(), rtol=1e-5, atol=1e-6)
    mixed = LinearProbe(**given, last_blocks=1, patch_mean=True).read(model)(x).numpy()
    np.testing.assert_allclose(mixed[:, ::2], model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert LinearProbe(**given).read(model) is model
    with pytest.raises(ConfigError, match="last_blocks is 3"):
        LinearProbe(**given, last_blocks=3).read(model)


class TestFewLabels:
    def measured(self, **options):
        run = run_over(clouds(300, 1))
        given = dict(train=clouds(300, 0), epochs=60, batch_size=6, base_lrs=[20.0], optimizer="nesterov", per_class=2)
        with paddle.no_grad():
            ((spec, value),) = LinearProbe(**given | options).evaluate(lambda x: x, run)
        return spec, value, run.facts

    def test_the_number_is_the_mean_over_draws_of_so_many_of_each_class(self):
        spec, value, facts = self.measured(draws=3)
        assert (spec.key, facts["linear2_lr"]) == ("linear2", 20.0)
        each = [self.measured(draws=1, seed=seed)[1] for seed in range(3)]
        assert value == pytest.approx(np.mean(each))
        assert len(set(each)) > 1, "each draw has other images"

    def test_of_each_class_so_many(self):
        labels = clouds(300, 0).labels
        probe = LinearProbe(train=clouds(300, 0), batch_size=6, per_class=2)
        rows = [probe.learned_from(labels, 3, draw) for draw in range(2)]
        for chosen in rows:
            np.testing.assert_array_equal(np.bincount(labels[chosen]), [2, 2, 2])
        assert set(rows[0]) != set(rows[1])

    def test_refusals(self):
        with pytest.raises(ConfigError, match="fewer than per_class, 400"):
            self.measured(per_class=400)
        with pytest.raises(ConfigError, match="there are 6 images"):
            self.measured(batch_size=7)
        with pytest.raises(ConfigError, match="draws"):
            self.measured(draws=0)


VIT = dict(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2)
NETWORKS = {
    "mean of patches": (lambda: MaskedAutoencoder(**VIT, decoder_embed_dim=8, decoder_num_heads=2, pool="gap"), 8),
    "class token": (lambda: MaskedAutoencoder(**VIT, decoder_embed_dim=8, decoder_num_heads=2), 8),
    "DINO": (lambda: DINOVisionTransformer(**VIT), 8),
    "SimCLR": (cifar_resnet18, 512),
}


@paddle.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_reads_each_network_without_its_head(name):
    """What k nearest neighbours and the probe are given: rows of features of whole images."""
    build, width = NETWORKS[name]
    model = build()
    model.eval()
    images = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)
    points = Points(images, np.arange(6) % 3)
    features, labels = features_of(LinearProbe(train=points, batch_size=2).read(model), run_over(points), points)
    assert features.shape == (6, width)
    np.testing.assert_array_equal(labels, points.labels)
    if isinstance(model, MaskedAutoencoder):
        tokens = model.forward_features(paddle.to_tensor(images)).numpy()
        whole = tokens[:, 1:].mean(axis=1) if name == "mean of patches" else tokens[:, 0]
        np.testing.assert_allclose(features, whole, rtol=1e-4, atol=1e-5)
    ((_, value),) = WeightedKNN(train=points, k=2).evaluate(model, run_over(points))
    assert value > 0.5, "each image is its own nearest neighbour"


def test_blocks_of_an_autoencoder_are_not_read():
    model = MaskedAutoencoder(**VIT, decoder_embed_dim=8, decoder_num_heads=2)
    with pytest.raises(ConfigError, match="last_blocks is 2, which MaskedAutoencoder has not"):
        LinearProbe(train=clouds(4, 0), last_blocks=2).read(model)

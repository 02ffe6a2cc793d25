"""The random parts of DeiT's recipe against their definitions.

Seeds are fixed, so a test always gives the same answer. Each bound is such that a right implementation
with another seed would fail it with a probability of about 1e-6 (ALPHA), by an exact binomial, chi-square
or Kolmogorov-Smirnov test, or by 4.9 standard errors of a mean; the sample sizes then show deviations of
a few percent.
"""

import math
from itertools import pairwise

import numpy as np
import paddle
import pytest
from scipy import stats

from ppcore.data import (
    ArrayImages,
    Mixup,
    Normalize,
    RandAugment,
    RandomErasing,
    ThreeAugment,
    TrainBatchSampler,
    TrainLoader,
    mix_targets,
)
from ppcore.layers import DropPath

ALPHA = 1e-6
DEVIATIONS = stats.norm.isf(ALPHA / 2)  # 4.89


def rng(*key):
    return np.random.default_rng(key)


def assert_share(hits, trials, probability):
    result = stats.binomtest(int(hits), int(trials), probability)
    assert result.pvalue > ALPHA, f"{hits} of {trials}, not {probability:.3f}"


def assert_uniform(counts):
    assert stats.chisquare(counts).pvalue > ALPHA, counts


def assert_distributed(values, distribution):
    result = stats.kstest(values, distribution.cdf)
    assert result.pvalue > ALPHA, result


def assert_mean(values, mean, deviation):
    values = np.asarray(values, float)
    assert abs(values.mean() - mean) < DEVIATIONS * deviation / math.sqrt(values.size), (values.mean(), mean)


@pytest.fixture(scope="module")
def drawn():
    """The operations of 30,000 images of the recipe: rand-m9-mstd0.5-inc1."""
    transform, generator = RandAugment(), rng(11)
    return [transform.draw(generator) for _ in range(30000)]


class TestRandAugment:
    def test_each_of_two_operations_is_applied_half_of_the_time(self, drawn):
        counts = np.bincount([len(operations) for operations in drawn], minlength=3)
        expected = np.array([0.25, 0.5, 0.25]) * len(drawn)
        assert stats.chisquare(counts, expected).pvalue > ALPHA

    def test_fifteen_operations_equally_often(self, drawn):
        names = [operation.name for operations in drawn for operation in operations]
        assert len(RandAugment.operations) == 15
        assert_uniform([names.count(name) for name in RandAugment.operations])

    def test_drawn_with_replacement_and_independently(self, drawn):
        pairs = [(o[0].name, o[1].name) for o in drawn if len(o) == 2]
        assert_share(sum(first == second for first, second in pairs), len(pairs), 1 / 15)
        table = np.zeros((15, 15))
        for first, second in pairs:
            table[RandAugment.operations.index(first), RandAugment.operations.index(second)] += 1
        assert stats.chi2_contingency(table).pvalue > ALPHA

    @staticmethod
    def arguments(drawn, *names):
        return np.array([o.argument for operations in drawn for o in operations if o.name in names])

    def test_magnitude_is_normal_and_clipped_at_ten(self, drawn):
        """|degrees| / 3, |shear| / .03 and |share| / .045 are the magnitude: N(9, .5), all above 10 at 10."""
        magnitudes = np.concatenate(
            [
                np.abs(self.arguments(drawn, "Rotate")) / 3,
                np.abs(self.arguments(drawn, "ShearX", "ShearY")) / 0.03,
                np.abs(self.arguments(drawn, "TranslateXRel", "TranslateYRel")) / 0.045,
                np.abs(self.arguments(drawn, "Color", "Contrast", "Brightness", "Sharpness") - 1) / 0.09,
            ]
        )
        normal = stats.norm(9, 0.5)
        assert magnitudes.max() < 10 + 1e-9
        clipped = magnitudes > 10 - 1e-9
        assert_share(clipped.sum(), clipped.size, normal.sf(10))
        assert_distributed(magnitudes[~clipped], stats.truncnorm(-math.inf, 2, loc=9, scale=0.5))
        below = stats.truncnorm(-math.inf, 2)
        tail = normal.sf(10)
        mean = 9 + 0.5 * ((1 - tail) * below.mean() + tail * 2)
        variance = 0.25 * ((1 - tail) * below.moment(2) + tail * 4) - (mean - 9) ** 2
        assert_mean(magnitudes, mean, math.sqrt(variance))
        assert magnitudes.std() == pytest.approx(math.sqrt(variance), rel=0.03)

    def test_integer_arguments_are_the_magnitude_cut_down(self, drawn):
        """Posterize keeps 4 - int(.4 m) bits: 1, and 0 only from magnitude 10 on; Solarize 256 - int(25.6 m)."""
        normal = stats.norm(9, 0.5)
        bits = self.arguments(drawn, "Posterize")
        assert set(bits) <= {0, 1, 2}
        assert_share((bits == 0).sum(), bits.size, normal.sf(10))
        assert_share((bits == 2).sum(), bits.size, normal.cdf(7.5))
        thresholds = self.arguments(drawn, "Solarize")
        assert_share((thresholds <= 256 - 230).sum(), thresholds.size, normal.sf(230 / 25.6))
        added = self.arguments(drawn, "SolarizeAdd")
        assert added.max() == 110
        assert_share((added >= 99).sum(), added.size, 0.5)

    def test_signs_are_even(self, drawn):
        for name in ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"):
            values = self.arguments(drawn, name)
            assert_share((values > 0).sum(), values.size, 0.5)
        for name in ("Color", "Contrast", "Brightness", "Sharpness"):
            values = self.arguments(drawn, name)
            assert_share((values > 1).sum(), values.size, 0.5)

    def test_clipped_at_zero_and_random_interpolation(self):
        transform, generator = RandAugment(magnitude=0.2, magnitude_std=1.0, prob=1.0, interpolation="random"), rng(12)
        operations = [o for _ in range(10000) for o in transform.draw(generator)]
        degrees = np.array([o.argument for o in operations if o.name == "Rotate"])
        assert_share((degrees == 0).sum(), degrees.size, stats.norm(0.2, 1).cdf(0))
        assert_share(sum(o.kernel == "bicubic" for o in operations), len(operations), 0.5)


def test_three_augment_chooses_evenly_and_blurs_uniformly():
    image = rng(1).integers(0, 128, (4, 4, 3), dtype=np.uint8)  # solarization leaves it alone
    transform, sigmas = ThreeAugment(), []
    counts = {"grey": 0, "solarize": 0, "blur": 0}
    for seed in range(4000):
        recorder = Recorder(rng(13, seed))
        result = transform(image, recorder)
        if recorder.uniforms:
            counts["blur"] += 1
            sigmas += recorder.uniforms
        elif np.array_equal(result, image):
            counts["solarize"] += 1
        else:
            assert (result == result[:, :, :1]).all()
            counts["grey"] += 1
    assert_uniform(list(counts.values()))
    assert_distributed(sigmas, stats.uniform(0.1, 1.9))


class Recorder:
    """A generator that remembers what `uniform` gave."""

    def __init__(self, generator):
        self.generator, self.uniforms = generator, []

    def uniform(self, low, high):
        self.uniforms.append(self.generator.uniform(low, high))
        return self.uniforms[-1]

    def integers(self, *arguments):
        return self.generator.integers(*arguments)


@pytest.fixture(scope="module")
def boxes():
    """30,000 draws of the recipe at 224 pixels, an empty list where nothing was erased."""
    erase, generator = RandomErasing(prob=0.25), rng(21)
    return [erase.boxes(224, 224, generator) for _ in range(30000)]


class TestRandomErasing:
    def test_a_quarter_of_the_images(self, boxes):
        assert_share(sum(bool(found) for found in boxes), len(boxes), 0.25)
        assert all(len(found) <= 1 for found in boxes)

    def test_area_and_aspect(self, boxes):
        """Area uniform in [.02, 1/3], aspect log-uniform in [.3, 1/.3], given that the box fits in the image.

        A box does not fit when a side reaches 224; the expected distribution is of a million definitions
        drawn here independently, the distance that of a two-sample test.
        """
        top, left, height, width = np.array([found[0] for found in boxes if found]).T
        assert (top + height <= 224).all()
        assert (left + width <= 224).all()
        generator = rng(22)
        area = generator.uniform(0.02, 1 / 3, 1_000_000) * 224**2
        aspect = np.exp(generator.uniform(math.log(0.3), -math.log(0.3), 1_000_000))
        rows, columns = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        fits = (rows < 224) & (columns < 224)
        assert 0.95 < fits.mean() < 1
        for got, expected in ((height * width, rows * columns), (height / width, rows / columns)):
            assert stats.ks_2samp(got, expected[fits]).pvalue > ALPHA
        assert (height / width).min() > 0.3 * 0.97  # sides are rounded
        assert (height / width).max() < 1.03 / 0.3
        assert_share((height > width).sum() + 0.5 * (height == width).sum(), height.size, 0.5)

    def test_place_is_uniform(self, boxes):
        """(top + u) / (224 - height + 1), u uniform in 0..1, is uniform in 0..1."""
        top, left, height, width = np.array([found[0] for found in boxes if found]).T
        inside_a_step = rng(23).random((2, top.size))
        assert_distributed((top + inside_a_step[0]) / (225 - height), stats.uniform)
        assert_distributed((left + inside_a_step[1]) / (225 - width), stats.uniform)

    def test_noise_is_standard_normal(self):
        noise = RandomErasing().content(3, 200, 200, rng(24))
        assert noise.dtype == np.float32
        assert_distributed(noise.ravel(), stats.norm)
        for plane in noise:
            assert_mean(plane, 0, 1)
        correlation = np.corrcoef(noise.reshape(3, -1))
        assert np.abs(correlation - np.eye(3)).max() < DEVIATIONS / 200  # 1/sqrt(40000) a standard error


class TestMixup:
    """Lambda, read off the pixels, with the recipe's alphas."""

    @staticmethod
    def lambdas(mixup, runs, seed):
        """Per run: whether CutMix, the lambda of image 0's pixels, and of its target."""
        batch = {"image": np.zeros((2, 1, 56, 56), np.float32), "label": np.array([0, 1])}
        batch["image"][1] = 1
        generator, result = rng(seed), []
        for _ in range(runs):
            mixed = mixup(batch, generator)
            pixels = mixed["image"][0]
            cut = bool(((pixels == 0) | (pixels == 1)).all())
            result.append((cut, 1 - float(pixels.mean(dtype=np.float64)), float(mixed["target"][0, 0])))
        return np.array(result)

    def test_mixup_is_beta_of_its_alpha(self):
        found = self.lambdas(Mixup(num_classes=2, cutmix_alpha=0.0, label_smoothing=0.0), 8000, 31)
        assert_distributed(found[:, 1], stats.beta(0.8, 0.8))
        np.testing.assert_allclose(found[:, 1], found[:, 2], atol=2e-6)

    def test_cutmix_is_uniform_before_the_box_is_clipped(self):
        """Beta(1, 1); the uncorrected lambda stands in the target, to a box whose sides are whole pixels."""
        mixup = Mixup(num_classes=2, mixup_alpha=0.0, label_smoothing=0.0, correct_lam=False)
        assert_distributed(self.lambdas(mixup, 8000, 32)[:, 2], stats.beta(1, 1))

    def test_cutmix_corrects_lambda_to_the_clipped_area(self):
        """Exactly the kept share of pixels; 0.679 on average instead of Beta(1, 1)'s half: clipping keeps more."""
        found = self.lambdas(Mixup(num_classes=2, mixup_alpha=0.0, label_smoothing=0.0), 8000, 33)
        np.testing.assert_allclose(found[:, 1], found[:, 2], atol=2e-7)
        # On a continuous image: of a side s, centred anywhere in 0..1, s - s^2 / 4 is inside on average;
        # the mean of its square over s^2 uniform is 1/2 - 1/5 + 1/48. Whole pixels make boxes smaller.
        error = DEVIATIONS * found[:, 1].std() / math.sqrt(len(found))
        assert -error < found[:, 1].mean() - (1 - (1 / 2 - 1 / 5 + 1 / 48)) < error + 1 / 56

    def test_either_with_half_probability(self):
        found = self.lambdas(Mixup(num_classes=2), 8000, 34)
        # Mixup never makes pixels of 0 and 1 only, but for a lambda that rounds to one of them.
        assert_share(found[:, 0].sum(), len(found), 0.5)

    def test_done_with_its_probability(self):
        found = self.lambdas(Mixup(num_classes=2, prob=0.3, cutmix_alpha=0.0), 8000, 35)
        assert_share((found[:, 1] < 1).sum(), len(found), 0.3)

    def test_recipe_targets_are_the_lambda_of_the_pixels(self):
        """Smoothed targets of both kinds, from the lambda seen in the images alone."""
        mixup = Mixup(num_classes=2, label_smoothing=0.1)
        for _, lam, target in self.lambdas(mixup, 300, 36):
            assert target == pytest.approx(float(mix_targets([0, 1], 2, lam, 0.1)[0, 0]), abs=3e-6)


class TestRepeatedAugmentation:
    """Three copies of a third of the images an epoch."""

    @pytest.mark.parametrize("world", [1, 2])
    def test_counts_of_an_epoch(self, world):
        images, batch, epochs = 600, 60, 4
        seen = []
        for epoch in range(epochs):
            keys = []
            for rank in range(world):
                stream = TrainBatchSampler(
                    images, batch, seed=3, start_step=epoch * 10, total_steps=epoch * 10 + 10, rank=rank, world=world,
                    repeats=3,
                )  # fmt: skip
                mine = [key for micro in stream for key in micro]
                assert len(mine) == images // world
                keys += mine
            assert len(keys) == len(set(keys)) == images
            copies = {}
            for number, index, copy in keys:
                assert number == epoch
                copies.setdefault(index, set()).add(copy)
            assert len(copies) == images // 3
            assert set(map(frozenset, copies.values())) == {frozenset({0, 1, 2})}
            seen.append(set(copies))
        # Which third is drawn anew: two epochs share 200 * 200 / 600 images, hypergeometric.
        for first, second in pairwise(seen):
            shared = len(first & second)
            assert stats.hypergeom(600, 200, 200).cdf(shared) > ALPHA
            assert stats.hypergeom(600, 200, 200).sf(shared) > ALPHA

    def test_every_image_is_as_likely(self):
        counts = np.zeros(60)
        for seed in range(300):
            for micro in TrainBatchSampler(60, 30, seed=seed, total_steps=2, repeats=3):
                for _, index, copy in micro:
                    counts[index] += copy == 0
        assert counts.sum() == 300 * 20
        # Without replacement within an epoch the variance is smaller than the multinomial's: still a bound.
        assert_uniform(counts)

    def test_copies_are_augmented_differently(self):
        """Through the loader, with the recipe's transforms: the same image, three pictures."""
        images = rng(41).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
        transforms = [RandAugment(prob=1.0), Normalize([0.5] * 3, [0.5] * 3), RandomErasing(prob=1.0)]
        stream = TrainBatchSampler(12, 12, seed=5, total_steps=1, repeats=3)
        loader = TrainLoader(ArrayImages(images, np.arange(12) % 3, None, 3), transforms, [], 5, stream)
        (batch,) = list(loader)
        indices = batch["index"].tolist()
        assert len(set(indices)) == 4
        for index in set(indices):
            copies = {batch["image"][place].tobytes() for place, other in enumerate(indices) if other == index}
            assert len(copies) == 3


class TestDropPath:
    @pytest.mark.parametrize("rate", [0.1, 0.45])
    def test_mean_is_unchanged(self, rate):
        """Samples are kept with 1 - rate and divided by it; the mean of the output is the input's."""
        paddle.seed(51)
        layer = DropPath(rate)
        layer.train()
        samples = 20000
        branch = paddle.to_tensor(rng(52).normal(2.0, 1.0, (1, 3)).astype(np.float32)).expand([samples, 3])
        out = layer(branch).numpy()
        kept = (out != 0).all(axis=1)
        assert ((out == 0).all(axis=1) | kept).all()  # whole samples
        assert_share(kept.sum(), samples, 1 - rate)
        value = branch[0].numpy()
        np.testing.assert_allclose(out[kept], np.broadcast_to(value / (1 - rate), (kept.sum(), 3)), rtol=1e-6)
        error = np.abs(value) * math.sqrt(rate / (1 - rate) / samples)
        assert (np.abs(out.mean(axis=0, dtype=np.float64) - value) < DEVIATIONS * error).all()
        layer.eval()
        np.testing.assert_array_equal(layer(branch).numpy(), branch.numpy())

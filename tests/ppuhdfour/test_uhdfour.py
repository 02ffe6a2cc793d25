"""UHDFour's networks: parameters, sizes, options, the split into trunk and tail, ablations."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppuhdfour
from ppcore.errors import ConfigError
from ppcore.reproduce.fidelity import count_parameters
from ppuhdfour import UHDFour
from ppuhdfour.uhdfour import reduce

TINY = dict(scale=4, extract=4, widths=[4, 8, 12], fusion=4)


def tiny(**options) -> UHDFour:
    paddle.seed(0)
    return UHDFour(**{**TINY, **options})


def image(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).random(shape).astype("float32") * np.float32(0.3))


@pytest.fixture(scope="module")
def model():
    net = tiny()
    net.eval()
    return net


class TestParameters:
    def test_are_the_papers(self):
        assert count_parameters(ppuhdfour.uhdfour) == 17_537_370
        assert count_parameters(ppuhdfour.uhdfour_lol) == 15_899_306

    def test_every_one_is_used(self):
        net = tiny(refine=1, tail=2)
        net.train()
        y, y_low = net(image(1, 3, 32, 24))
        (y.sum() + y_low.sum()).backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []

    def test_start_as_torchs_convolutions_do(self):
        net = UHDFour(widths=[192, 16, 16])
        weight, bias = net.low.block1.merge.weight.numpy(), net.low.block1.merge.bias.numpy()
        for values in (weight, bias):
            assert np.abs(values).max() <= 1 / np.sqrt(384)
        assert weight.std() == pytest.approx(1 / np.sqrt(384) / np.sqrt(3), rel=0.02)


class TestSizes:
    @given(size=st.tuples(st.integers(1, 70), st.integers(1, 70)))
    @settings(max_examples=12)
    def test_any_size_gives_the_same_size(self, model, size):
        with paddle.no_grad():
            y = model(image(1, 3, *size))
        assert y.shape == [1, 3, *size]
        assert np.isfinite(y.numpy()).all()

    def test_a_fitting_size_is_not_padded(self, model):
        assert model.padded_size(32, 32) == (32, 32)
        assert model.padded_size(16, 32) == (16, 32)  # the lowest level is 1x2
        assert model.padded_size(16, 16) == (32, 32)  # it would be 1x1, which no instance norm takes
        assert model.padded_size(1, 1) == (32, 32)
        assert model.padded_size(33, 70) == (36, 72)
        assert ppuhdfour.uhdfour is not None
        assert UHDFour(widths=[4, 4, 4]).padded_size(1080, 1920) == (1080, 1920)

    def test_padding_is_reflection_and_is_cut_off(self, model):
        x = image(1, 3, 45, 37)
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 3), (0, 3)), mode="reflect")
        with paddle.no_grad():
            whole = model(paddle.to_tensor(padded)).numpy()
            np.testing.assert_array_equal(model(x).numpy(), whole[:, :, :45, :37])

    def test_training_gives_both_results(self):
        net = tiny()
        net.train()
        y, y_low = net(image(2, 3, 45, 37))
        assert y.shape == [2, 3, 45, 37]
        assert y_low.shape == [2, 3, 12, 10]

    def test_images_of_a_batch_do_not_mix(self, model):
        x = image(3, 3, 32, 40)
        with paddle.no_grad():
            together = model(x).numpy()
            for i in range(3):
                np.testing.assert_allclose(model(x[i : i + 1]).numpy()[0], together[i], rtol=1e-4, atol=1e-5)


class TestParts:
    def test_trunk_and_tail_are_the_whole(self, model):
        x = image(1, 3, 48, 32)
        with paddle.no_grad():
            np.testing.assert_array_equal(model.tail(*model.trunk(x)).numpy(), model(x).numpy())

    def test_reduce_is_bilinear_without_antialiasing(self):
        x = image(2, 3, 32, 48)
        for factor in (2, 4, 8):
            want = paddle.nn.functional.interpolate(x, scale_factor=1 / factor, mode="bilinear", align_corners=False)
            np.testing.assert_allclose(reduce(x, factor).numpy(), want.numpy(), rtol=1e-6, atol=1e-7)

    def test_backends_agree(self):
        nets = [tiny(backend=backend) for backend in ("fft", "matmul")]
        for net in nets:
            net.eval()
        with paddle.no_grad():
            a, b = (net(image(1, 3, 52, 40)).numpy() for net in nets)
        assert np.abs(a - b).max() < 1e-5 * np.abs(a).max()


# Option -> parameters it adds to (or takes from) the tiny network, and a name that must be gone.
OPTIONS = {
    "no Fourier branch": (dict(fourier=False), "low.block1.frequency.amplitude.conv1.weight"),
    "no spatial branch": (dict(spatial=False), "low.block1.spatial.f.conv1.weight"),
    "residual blocks": (dict(block="residual"), "low.block1.merge.weight"),
    "no amplitude modulation": (dict(modulate_amplitude=False), "high.adjust.frequency.sft.add.weight"),
    "no phase guidance": (dict(guide_phase=False), "high.adjust.frequency.merge_phase.weight"),
    "no spatial branch in the Adjustment block": (dict(adjust_spatial=False), "high.adjust.spatial.f.conv1.weight"),
    "residual Adjustment block": (dict(adjust="residual"), "high.adjust.merge.weight"),
    "no low-resolution result": (dict(concat_low=False), None),
    "paper": (dict(paper=True), "low.block5.merge.weight"),
}


class TestOptions:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_changes_the_network(self, name, model):
        options, gone = OPTIONS[name]
        net = tiny(**options)
        net.train()
        assert gone in model.state_dict() or gone is None
        assert gone not in net.state_dict()
        shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
        assert shapes != {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        y, y_low = net(image(1, 3, 32, 40))
        assert y.shape == [1, 3, 32, 40]
        (y.mean() + y_low.mean()).backward()
        assert [key for key, p in net.named_parameters() if p.grad is None] == []

    def test_the_ablations_switch_off_one_thing(self, model):
        whole = set(model.state_dict())
        for name, (options, _) in OPTIONS.items():
            if name.startswith("no "):
                assert set(tiny(**options).state_dict()) < whole or name == "no low-resolution result", name

    def test_the_text_has_four_blocks_and_larger_strides(self):
        net = tiny(paper=True)
        assert net.low.block5 is None
        assert net.low.down1.weight.shape == [8, 4, 4, 4]
        assert net.low.amplitude is None
        sft = net.high.adjust.frequency.sft
        assert sft.fuse is None
        assert sft.add.weight.shape[2:] == [1, 1]
        assert net.low.block1.spatial.conv1.weight.shape == [4, 4, 3, 3]

    @pytest.mark.parametrize("options", [{}, dict(tail=3, refine=1), dict(concat_low=False), dict(adjust="residual")])
    def test_starting_as_the_identity(self, options):
        x = image(1, 3, 48, 32)
        gaps = {}
        for init in ("torch", "identity"):
            net = tiny(init=init, **options)
            net.eval()
            with paddle.no_grad():
                gaps[init] = float((net(x) - x).abs().mean())
        blocks = 4 if options else 1  # further blocks, or another in the Adjustment block's place, add what they add
        assert gaps["identity"] < 0.1 * blocks
        assert gaps["identity"] < gaps["torch"] or options

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (dict(fusion=2), "fusion is 2, but must be a whole number from 3 on"),
            (dict(scale=3), "even"),
            (dict(widths=[4, 8]), "three"),
            (dict(widths=[6, 8, 8]), "multiples of 4"),
            (dict(spatial=False, fourier=False), "branch"),
            (dict(tail=0), "tail"),
            (dict(backend="matmul", raw=True), "raw"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, options, word):
        with pytest.raises(ConfigError, match=word):
            tiny(**options)

    def test_unknown_arguments_are_refused(self):
        with pytest.raises(TypeError):
            ppuhdfour.uhdfour(depth=3)

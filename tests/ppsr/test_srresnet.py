"""SRResNet and SRGAN's discriminator: against numpy, sizes, forms, layouts."""

import numpy as np
import paddle
import pytest
from sr_reference import convolution, image, norm, parameters, prelu, randomized, run, seen_from, shuffled

import ppcore.weights
import ppsr
from ppcore.errors import ConfigError, WeightsError

TINY = dict(width=4, blocks=2)


def reference(model: ppsr.SRResNet, x: np.ndarray) -> np.ndarray:
    first = y = prelu(convolution(x.astype(np.float64), model.entry, "zero"), model.entry_slope)
    for block in model.residual:
        inner = prelu(norm(convolution(y, block.conv1, "zero"), block.norm1), block.slope)
        y = y + norm(convolution(inner, block.conv2, "zero"), block.norm2)
    y = convolution(y, model.fuse, "zero")
    y = first + (norm(y, model.fuse_norm) if model.form == "paper" else prelu(y, model.fuse_norm))
    for doubling in model.doublings:
        y = prelu(shuffled(convolution(y, doubling.conv, "zero")), doubling.slope)
    return convolution(y, model.exit, "zero")


@pytest.mark.parametrize(("scale", "count"), [(2, 1_399_637), (4, 1_547_350), (8, 1_695_063)])
def test_has_the_papers_parameters(scale, count):
    model = ppsr.srresnet(scale)
    assert parameters(model) == count
    statistics = sum(t.size for name, t in model.state_dict().items() if name.endswith(("_mean", "_variance")))
    assert statistics == 4_224


@pytest.mark.parametrize("form", ["paper", "leftthomas"])
@pytest.mark.parametrize("scale", [2, 4])
def test_is_the_network_in_numpy(scale, form):
    model, x = randomized(ppsr.SRResNet(scale=scale, form=form, **TINY)), image(3, 6, 7)
    want = reference(model, x)
    assert want.shape == (3, 6 * scale, 7 * scale)
    np.testing.assert_allclose(run(model, x), want, rtol=0, atol=5e-6 * np.abs(want).max())


def test_the_outputs_are_three():
    x = image(3, 6, 7)
    plain = run(randomized(ppsr.SRResNet(scale=2, **TINY)), x)
    assert plain.min() < 0, "there is something to cut"
    assert plain.max() > 1
    for output, want in (("clamp", np.clip(plain, 0, 1)), ("tanh", (np.tanh(plain) + 1) / 2)):
        np.testing.assert_allclose(run(randomized(ppsr.SRResNet(scale=2, output=output, **TINY)), x), want, atol=1e-6)


def test_no_gradient_passes_where_the_output_is_cut():
    gradients = []
    for output in ("none", "clamp"):
        model = randomized(ppsr.SRResNet(scale=2, output=output, **TINY))
        y = model(paddle.to_tensor(image(1, 3, 6, 7)))
        y.sum().backward()
        gradients.append(float(model.exit.bias.grad.sum()))
    assert gradients[0] == pytest.approx(3 * 12 * 14)
    assert 0 < gradients[1] < 0.9 * gradients[0]


@pytest.mark.parametrize(("scale", "blocks"), [(2, 1), (4, 2), (8, 1)])
def test_sees_as_far_as_it_says(scale, blocks):
    model = randomized(ppsr.SRResNet(scale=scale, width=2, blocks=blocks))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 or name.endswith("_weight"):
            parameter.set_value(parameter.abs())  # nothing cancels
    first, last = seen_from(model, 3, 41)
    assert max(20 - first, last - 20) == model.reach


@pytest.mark.parametrize("options", [{"scale": 3}, {"blocks": 0}, {"output": "sigmoid"}, {"form": "edsr"}])
def test_says_what_it_does_not_take(options):
    with pytest.raises(ConfigError, match=f"SRResNet: {next(iter(options))} is"):
        ppsr.SRResNet(**options)


class TestDiscriminator:
    def test_has_the_papers_parameters(self):
        assert parameters(ppsr.discriminator()) == 23_563_649

    def test_is_the_network_in_numpy(self):
        model, x = randomized(ppsr.Discriminator(width=2, size=32, hidden=5)), image(3, 32, 32)

        def leaky(y):
            return np.where(y > 0, y, 0.2 * y)

        y = leaky(convolution(x.astype(np.float64), model.features[0], "zero"))
        strides = []
        for place in range(2, 23, 3):
            conv = model.features[place]
            stride = 2 if place in (2, 8, 14, 20) else 1
            strides.append(conv.weight.shape[0])
            y = leaky(norm(convolution(y, conv, "zero")[:, ::stride, ::stride], model.features[place + 1]))
        assert strides == [2, 4, 4, 8, 8, 16, 16]
        assert y.shape == (16, 2, 2)
        first, last = model.classifier[0], model.classifier[2]
        y = leaky(y.reshape(-1) @ first.weight.numpy() + first.bias.numpy())
        want = y @ last.weight.numpy() + last.bias.numpy()
        np.testing.assert_allclose(run(model, x), want, rtol=1e-5)

    def test_its_layout_both_ways(self):
        model = randomized(ppsr.Discriminator(width=2, size=16, hidden=5))
        arrays = ppcore.weights.export(model, layout="lornatang")
        assert arrays["classifier.0.weight"].shape == (5, 16)
        assert {"features.0.bias", "features.3.running_mean", "features.21.running_var"} <= set(arrays)
        assert not {"features.2.bias", "features.20.bias"} & set(arrays)
        counted = {**arrays, "features.3.num_batches_tracked": np.int64(7)}
        state = ppcore.weights.convert(
            counted, source="lornatang", model=ppsr.Discriminator(width=2, size=16, hidden=5)
        )
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)

    @pytest.mark.parametrize("options", [{"size": 100}, {"width": 0}, {"hidden": 0}])
    def test_says_what_it_does_not_take(self, options):
        with pytest.raises(ConfigError, match=f"Discriminator: {next(iter(options))} is"):
            ppsr.Discriminator(**options)


class TestLayouts:
    @pytest.mark.parametrize(("form", "layout"), [("paper", "lornatang"), ("leftthomas", "leftthomas")])
    def test_both_ways(self, form, layout):
        model = randomized(ppsr.SRResNet(form=form, **TINY))
        arrays = ppcore.weights.export(model, layout=layout)
        state = ppcore.weights.convert(arrays, source=layout, model=ppsr.SRResNet(form=form, **TINY))
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)

    def test_names_of_lornatang(self):
        arrays = ppcore.weights.export(ppsr.SRResNet(**TINY), layout="lornatang")
        block = ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight", "3.weight", "4.weight",
                 "4.bias", "4.running_mean", "4.running_var"]  # fmt: skip
        assert set(arrays) == {
            "conv1.0.weight", "conv1.0.bias", "conv1.1.weight", *(f"trunk.{i}.rcb.{name}" for i in (0, 1) for name in block),
            "conv2.0.weight", *(f"conv2.1.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
            *(f"upsampling.{i}.upsample_block.{name}" for i in (0, 1) for name in ("0.weight", "0.bias", "2.weight")),
            "conv3.weight", "conv3.bias",
        }  # fmt: skip

    def test_names_of_leftthomas(self):
        arrays = ppcore.weights.export(ppsr.SRResNet(form="leftthomas", **TINY), layout="leftthomas")
        assert {"block1.1.weight", "block3.bn2.running_var", "block3.prelu.weight", "block4.1.weight"} <= set(arrays)
        assert {"block5.0.conv.weight", "block5.1.prelu.weight", "block5.2.bias", "block2.conv1.bias"} <= set(arrays)

    def test_one_is_not_the_other(self):
        with pytest.raises(WeightsError, match="the leftthomas layout has no place for fuse_norm"):
            ppcore.weights.export(ppsr.SRResNet(**TINY), layout="leftthomas")

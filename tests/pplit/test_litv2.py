"""LITv2: the authors' sizes and counts, its stages, how it starts, the layout, what it refuses."""

import lit_reference as reference
import numpy as np
import paddle
import pytest

import ppcore.weights
import pplit
from ppcore.errors import ConfigError, WeightsError
from ppcore.model import traits

TINY = dict(img_size=64, embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 4, 8), num_classes=5)
# Parameters, parameter tensors, multiply-adds at 224 and 384 px, high and low frequency heads of stage 3.
PUBLISHED = {
    "litv2_small": (27_844_000, 210, 3_734_401_596, 11_225_228_736, 2, 10),
    "litv2_medium": (48_830_368, 450, 7_479_237_180, 22_650_709_440, 2, 10),
    "litv2_base": (86_520_704, 450, 13_193_561_148, 39_709_486_528, 2, 14),
}
# The authors' sweep over alpha: parameters, 10^9 multiply-adds.
SWEEP = {
    0.0: (28_089_760, 3.965462),
    0.2: (27_844_000, 3.880715),
    0.4: (27_696_544, 3.815235),
    0.5: (27_647_392, 3.769023),
    0.7: (27_696_544, 3.742079),
    0.9: (27_844_000, 3.734402),
    1.0: (28_089_760, 3.745992),
}


def shapes_alone(builder, **kwargs):
    with paddle.LazyGuard():
        return builder(**kwargs)


def trained(model) -> list:
    return [p for p in model.parameters() if p.trainable]


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    model = shapes_alone(getattr(pplit, name))
    attention = model.layers[2].blocks[0].attn
    counts = sum(p.size for p in trained(model)), len(trained(model)), model.flops(), model.flops(384, 384)
    assert (*counts, attention.h_heads, attention.l_heads) == PUBLISHED[name]


def test_the_larger_image_changes_nothing_but_the_size():
    small, large = shapes_alone(pplit.litv2_base), shapes_alone(pplit.litv2_base_384)
    assert [p.shape for p in small.parameters()] == [p.shape for p in large.parameters()]
    assert (traits(small).img_size, traits(large).img_size) == ((224, 224), (384, 384))
    assert large.flops() == PUBLISHED["litv2_base"][3]


@pytest.mark.parametrize("alpha", SWEEP)
def test_the_sweep_over_alpha(alpha):
    model = shapes_alone(pplit.litv2_small, alpha=alpha)
    assert sum(p.size for p in trained(model)) == SWEEP[alpha][0]
    assert model.flops() / 1e9 == pytest.approx(SWEEP[alpha][1], abs=5e-7)


def test_the_first_stages_have_no_attention_and_the_last_all_of_it():
    model = pplit.LITv2(**TINY)
    for block in (*model.layers[0].blocks, *model.layers[1].blocks):
        assert block.attn is None
        assert {name.partition(".")[0] for name in block.state_dict()} == {"norm2", "mlp"}
    assert [stage.blocks[0].attn.window_size for stage in model.layers[2:]] == [2, 1]
    assert model.layers[3].blocks[0].attn.h_heads == 0
    assert len(traits(model).blocks) == 5


def test_stages_by_name_are_the_ways_parts():
    model, x = reference.stirred(pplit.LITv2(**TINY)), images(2, 3, 64, 96)
    stages = model.forward_intermediates(x)
    shapes = {name: tuple(a.shape) for name, a in stages.items()}
    assert shapes == {
        "patch_embed": (2, 16, 24, 8),
        "stage_0": (2, 16, 24, 8),
        "merging_1": (2, 8, 12, 16),
        "stage_1": (2, 8, 12, 16),
        "merging_2": (2, 4, 6, 32),
        "stage_2": (2, 4, 6, 32),
        "merging_3": (2, 2, 3, 64),
        "stage_3": (2, 2, 3, 64),
        "norm": (2, 2, 3, 64),
        "pre_logits": (2, 64),
        "logits": (2, 5),
    }
    features = model.forward_features(x)
    np.testing.assert_array_equal(features.numpy(), stages["norm"].numpy())
    pooled = model.forward_head(features, pre_logits=True)
    np.testing.assert_allclose(pooled.numpy(), stages["norm"].numpy().mean((1, 2)), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(model(x).numpy(), stages["logits"].numpy())


@pytest.mark.parametrize("size", [(32, 32), (96, 160)], ids=str)
def test_any_multiple_of_32_is_taken_also_where_windows_do_not_fit(size):
    assert reference.stirred(pplit.LITv2(**TINY))(images(1, 3, *size)).shape == [1, 5]


@pytest.mark.parametrize("size", [(64, 48), (40, 64)], ids=str)
def test_other_sizes_are_refused_in_words(size):
    message = (
        rf"halves its patches 3 times and got {size[0]}x{size[1]}: height must be a multiple of 32 and width of 32"
    )
    with pytest.raises(ConfigError, match=message):
        pplit.LITv2(**TINY)(images(1, 3, *size))
    with pytest.raises(ConfigError, match=message):
        pplit.LITv2(**{**TINY, "img_size": size})


def test_where_a_token_stands_tells_only_the_zero_padded_convolution():
    """There is no position embedding: of a constant image the middle tokens are alike, those at the edge are not."""
    model = reference.stirred(pplit.LITv2(**TINY))
    stage = model.forward_intermediates(paddle.ones([1, 3, 64, 64]))["stage_0"].numpy()[0]
    np.testing.assert_allclose(stage[5], stage[8], atol=1e-5)
    assert np.abs(stage[0] - stage[8]).max() > 1e-2


def test_starts_as_the_authors_do():
    paddle.seed(0)
    model = pplit.litv2_small(depths=(1, 1, 1, 1))
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    spreads = {
        "layers.2.blocks.0.attn.l_kv.weight": 0.02,
        "layers.3.blocks.0.mlp.fc1.weight": 0.02,
        "head.weight": 0.02,
        "layers.3.blocks.0.mlp.dwconv.weight": (2 / 9) ** 0.5,
        "layers.2.downsample.dconv.weight": (4 * 384) ** -0.5 / 3**0.5,
        "patch_embed.proj.weight": 48**-0.5 / 3**0.5,
    }
    for name, spread in spreads.items():
        assert state[name].std() == pytest.approx(spread, rel=0.03), name
    zero = ("conv_offset.weight", "conv_offset.bias", "dwconv.bias", "l_q.bias", "h_qkv.bias", "fc1.bias", "norm2.bias")
    for name, array in state.items():
        if name.endswith((*zero, "head.bias")):
            assert not array.any(), name
        if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "_variance")):
            assert (array == 1).all(), name


def test_stochastic_depth_rises_over_all_blocks():
    model = pplit.LITv2(**TINY, drop_path_rate=0.2)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_a_fresh_head():
    model, x = reference.stirred(pplit.LITv2(**TINY)), images(1, 3, 64, 64)
    model.reset_classifier(3)
    assert model(x).shape == [1, 3]
    model.reset_classifier(0)
    assert model(x).shape == [1, 64]


def test_the_authors_layout_both_ways(tmp_path):
    model, other = reference.stirred(pplit.LITv2(**TINY)), pplit.LITv2(**TINY)
    ppcore.weights.save(model, tmp_path / "lit.safetensors", "litv2")
    arrays = ppcore.weights.read(tmp_path / "lit.safetensors")
    assert arrays["layers.2.blocks.1.attn.h_qkv.weight"].shape == (3 * 8, 32)
    assert arrays["layers.0.blocks.0.mlp.dwconv.dwconv.weight"].shape == (32, 1, 3, 3)
    merging = "layers.1.downsample."
    assert {name.removeprefix(merging) for name in arrays if name.startswith(merging)} == {
        "dconv.weight", "dconv.bias", "dconv.conv_offset.weight", "dconv.conv_offset.bias",
        "norm_layer.weight", "norm_layer.bias", "norm_layer.running_mean", "norm_layer.running_var",
    }  # fmt: skip
    assert len(arrays) == len(model.state_dict())
    # torch's files also count batches.
    counted = arrays | {f"layers.{i}.downsample.norm_layer.num_batches_tracked": np.array(7) for i in range(3)}
    state = ppcore.weights.convert(counted, source="litv2", model=other)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)
    ppcore.weights.load(other, tmp_path / "lit.safetensors", "litv2")
    np.testing.assert_array_equal(other.head.weight.numpy(), model.head.weight.numpy())
    del arrays["layers.2.blocks.0.attn.l_q.bias"]
    with pytest.raises(WeightsError, match=r"layers\.2\.blocks\.0\.attn\.l_q\.bias"):
        ppcore.weights.convert(arrays, source="litv2", model=other)


def test_other_heads_are_other_shapes():
    """Weights of one alpha do not pass for those of another."""
    arrays = ppcore.weights.export(pplit.LITv2(**TINY, alpha=0.5), layout="litv2")
    with pytest.raises(WeightsError, match="h_qkv"):
        ppcore.weights.convert(arrays, source="litv2", model=pplit.LITv2(**TINY, alpha=0.9))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(depths=(1, 1, 1)), "one value a stage, not 3, 4 and 4"),
        (dict(local_ws=(0, 0, 2, -1)), "local_ws is"),
        (dict(alpha=2), "alpha is 2"),
        (dict(drop_path_rate=1.0), "drop_path_rate is 1.0"),
    ],
)
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ConfigError, match=said):
        pplit.LITv2(**{**TINY, **wrong})
    with pytest.raises(TypeError):
        pplit.litv2_small(ape=True)

"""Whatever the arguments: a constructor makes a model that runs, or says in one line which argument is wrong."""

import math
from collections.abc import Callable

import numpy as np
import paddle
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ppdeit
import ppuhdfour
import ppvit
from ppcore.errors import ConfigError
from ppcore.layers import Attention, Block, DropPath, HalfInstanceNorm, LayerScale, Mlp, PatchEmbed
from ppcore.layers.std_conv import StdConv2D

VIT = dict(
    img_size=8, patch_size=4, in_chans=3, num_classes=2, embed_dim=8, depth=1, num_heads=2, head_dim=None,
    mlp_ratio=2.0, mlp_dim=None, qkv_bias=True, act="gelu", norm_eps=1e-6, drop_rate=0.0, attn_drop_rate=0.0,
    drop_path_rate=0.0, drop_path_mode="linear", layer_scale_init=None, representation_size=None, pool="token",
    init="timm", head_bias_init=0.0,
)  # fmt: skip
DISTILLED = {key: value for key, value in VIT.items() if key not in ("pool", "representation_size")}
HYBRID = {key: value for key, value in VIT.items() if key != "patch_size"} | dict(img_size=32, conv_norm="timm")
REGNET = dict(
    widths=[8, 8], depths=[1, 1], group_width=4, se_ratio=0.25, stem_width=4, stem_stride=2, strides=None, in_chans=3,
    num_classes=2, drop_path_rate=0.0, zero_init_last=True,
)  # fmt: skip
UHDFOUR = dict(
    scale=2, extract=2, widths=[4, 4, 4], refine=0, fusion=3, tail=1, paper=False, block="fouspa", spatial=True,
    fourier=True, adjust="fouspa", adjust_spatial=True, modulate_amplitude=True, guide_phase=True, concat_low=True,
    init="torch", backend="fft", raw=False,
)  # fmt: skip
# Several builders of a kind share a class; one of each kind is called with any arguments.
MODELS: dict[str, tuple[Callable, dict]] = {
    "ViT": (ppvit.VisionTransformer, VIT),
    "ViT builder": (ppvit.vit_tiny_patch16_224, VIT),
    "hybrid": (ppvit.vit_tiny_r_s16_p8_224, HYBRID),
    "DeiT": (ppdeit.deit_tiny_patch16_224, VIT),
    "distilled": (ppdeit.deit_tiny_distilled_patch16_224, DISTILLED | dict(eval_head="mean")),
    "DeiT III": (ppdeit.deit3_small_patch16_224, VIT),
    "RegNet": (ppdeit.regnety_160, REGNET),
    "UHDFour": (ppuhdfour.uhdfour, UHDFOUR),
    "UHDFour for LOL": (ppuhdfour.uhdfour_lol, UHDFOUR),
}
ANYTHING = st.sampled_from(
    [
        -(2**70), -7, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, -1.5, 0.0, 1e-30, 0.1, 0.5, 1.0, 2.0, math.nan, math.inf, -math.inf,
        True, False, None, "", "x", "gap", "jax", "constant", "relu", "residual", "matmul", "identity", "class",
        [], [4], [8, 8], [8, 4], (4, 0), [8, 8.0], [8, 8, 8], [4, 8, 12], [[4], 4, 4], ["a", "b"], {}, {"a": 1}, b"x",
        "two\nlines", np.int64(2), np.float64(0.5), np.ones((3, 3)), object(), print,
    ]
)  # fmt: skip


def build(make: Callable, arguments: dict) -> object | None:
    """The model, or None when it refuses its arguments as it should."""
    try:
        return make(**arguments)
    except ConfigError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    return None


def run(model) -> None:
    """A batch of two through a model that was built."""
    if isinstance(model, ppuhdfour.UHDFour):
        channels, size = 3, (8, 8)
    elif isinstance(model, ppdeit.RegNet):
        channels, size = model.stem.conv.weight.shape[1], (16, 16)
    else:
        convolution = getattr(model.patch_embed, "backbone", model.patch_embed)
        first = getattr(convolution, "proj", None) or convolution.conv
        channels, size = first.weight.shape[1], model.patch_embed.img_size
    model.train()
    model(paddle.zeros([2, channels, *size]))


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    make, base = MODELS[name]

    @settings(max_examples=60, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(sorted(base)), ANYTHING, min_size=1, max_size=2))
    @example({})
    def check(changes):
        model = build(make, base | changes)
        if model is not None:
            run(model)
        assert changes or model is not None

    check()


CLASSIFIERS = [
    getattr(package, name)
    for package in (ppvit, ppdeit)
    for name in package.__all__
    if name.startswith(("vit_", "deit_", "deit3_", "regnety_"))
]


@pytest.mark.parametrize("make", CLASSIFIERS, ids=lambda make: make.__name__)
def test_every_builder_checks_before_it_builds(make):
    for wrong in (dict(num_classes=-1), dict(in_chans=0), dict(drop_path_rate=2)):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is "):
            make(**wrong)


@pytest.mark.parametrize("name", MODELS)
def test_every_argument_minds_its_kind(name):
    """No argument takes an object, a text of two lines or a mapping."""
    make, base = MODELS[name]
    for argument in base:
        for wrong in (object(), "two\nlines", {"a": 1}):
            assert build(make, base | {argument: wrong}) is None, argument


LAYERS = {
    Attention: dict(dim=8, num_heads=2, head_dim=None, qkv_bias=True, attn_drop=0.0, proj_drop=0.0),
    Block: dict(dim=8, num_heads=2, mlp_dim=8, head_dim=None, qkv_bias=True, act="gelu", norm_eps=1e-6, drop=0.0,
                attn_drop=0.0, drop_path=0.0, layer_scale_init=None),
    DropPath: dict(rate=0.1),
    HalfInstanceNorm: dict(channels=4),
    LayerScale: dict(dim=4, value=1e-4),
    Mlp: dict(dim=4, hidden_dim=4, act="gelu", drop=0.0),
    PatchEmbed: dict(img_size=8, patch_size=4, in_chans=3, embed_dim=8, bias=True),
    StdConv2D: dict(in_channels=2, out_channels=2, kernel_size=3, stride=1, conv_norm="timm"),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_layers(layer):
    base = LAYERS[layer]

    @settings(max_examples=40, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(sorted(base)), ANYTHING, min_size=1, max_size=2))
    @example({})
    def check(changes):
        assert build(layer, base | changes) is not None or changes

    check()


def test_the_tools_say_it_in_one_line(tool, tiny_config):
    done = tool("train", "-c", tiny_config, "-o", "Arch.drop_rate=2")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "drop_rate is 2" in done.stderr.splitlines()[-1]

"""A fresh model's tensors against torch.nn.init's: mean, spread and support of each.

The oracle writes the two schemes down once more with torch's own initialisers: timm's default
(truncated normal .02) and flax's as timm's `jax` mode states it.
"""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch")

import paddle  # noqa: E402

from ppvit.hybrid import hybrid  # noqa: E402
from ppvit.vit import VisionTransformer  # noqa: E402

SIZE = dict(img_size=64, patch_size=8, num_classes=100, embed_dim=96, depth=2, num_heads=3)
# Spread of a unit normal cut at two sigmas.
CUT = 0.87962566103423978


def torch_shape(name: str, shape: list[int]) -> list[int]:
    linear = name.endswith(".weight") and len(shape) == 2
    return shape[::-1] if linear else list(shape)


def oracle(name: str, shape: list[int], scheme: str, patch_fan_in: int) -> torch.Tensor:
    """One tensor as torch would start it; `shape` in torch's layout."""
    t, init = torch.zeros(shape), torch.nn.init
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 0
    if "norm" in name:
        return t if name.endswith("bias") or name.endswith("norm3.weight") else init.ones_(t)
    if name == "cls_token":
        return init.normal_(t, std=1e-6) if scheme == "timm" else t
    if name == "pos_embed":
        return init.trunc_normal_(t, std=0.02) if scheme == "timm" else init.normal_(t, std=0.02)
    if "backbone" in name and scheme == "timm":
        return init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu")
    if name == "patch_embed.proj.weight" or "backbone" in name:
        if scheme == "timm":
            return init.kaiming_uniform_(t, a=math.sqrt(5))
        std = math.sqrt(1 / fan_in) / CUT
        return init.trunc_normal_(t, std=std, a=-2 * std, b=2 * std)
    if name == "patch_embed.proj.bias":
        bound = 1 / math.sqrt(patch_fan_in)
        return init.uniform_(t, -bound, bound) if scheme == "timm" else t
    if name.endswith("bias"):
        return init.normal_(t, std=1e-6) if scheme == "jax" and "mlp" in name else t
    if name == "head.weight" and scheme == "jax":
        return t
    if scheme == "timm":
        return init.trunc_normal_(t, std=0.02)
    if "qkv" in name:
        bound = math.sqrt(6 / (shape[0] // 3 + shape[1]))
        return init.uniform_(t, -bound, bound)
    return init.xavier_uniform_(t)


@pytest.mark.parametrize("scheme", ["timm", "jax"])
@pytest.mark.parametrize("embed", ["patches", "resnet"])
def test_every_tensor_starts_as_torchs(scheme, embed):
    paddle.seed(1)
    torch.manual_seed(2)
    # A ResNet of one unit in each of two stages: stem, projections and last norms are all there.
    embed_layer = hybrid((1, 1), 1, "timm") if embed == "resnet" else None
    model = VisionTransformer(**SIZE, init=scheme, embed_layer=embed_layer)
    patch_fan_in = math.prod(model.patch_embed.proj.weight.shape[1:])
    drawn = 0
    for name, parameter in model.named_parameters():
        mine = parameter.numpy().astype(np.float64)
        # Many draws of the oracle, so that its own scatter does not matter.
        shape = torch_shape(name, parameter.shape)
        repeats = max(1, 200_000 // mine.size)
        draws = np.stack([oracle(name, shape, scheme, patch_fan_in).double().numpy() for _ in range(repeats)])
        std, count = draws.std(), mine.size
        if std == 0:
            constant = draws[0].T if mine.ndim == 2 else draws[0]
            np.testing.assert_array_equal(mine, constant, err_msg=name)
            continue
        drawn += 1
        # Five standard errors: about one false alarm in two million comparisons.
        assert abs(mine.mean() - draws.mean()) < 5 * std / math.sqrt(count), name
        kurtosis = ((draws - draws.mean()) ** 4).mean() / std**4
        error = std * math.sqrt((kurtosis - 1) / (4 * count))
        assert abs(mine.std() - std) < 5 * error, f"{name}: std {mine.std():.3e}, torch's {std:.3e}"
        edge, reach = np.abs(draws).max(), np.abs(mine).max()
        bounded = kurtosis < 2.6  # uniform (1.8) or cut at two sigmas (2.2); a normal has 3
        if bounded:
            assert reach <= edge * 1.001, f"{name}: {reach:.3e} is outside torch's {edge:.3e}"
            if count > 1000:
                assert reach > 0.95 * edge, f"{name}: {reach:.3e} is well inside torch's {edge:.3e}"
        else:
            # The largest of n normal values: torch's scatter of it, from the same number of values.
            groups = np.abs(draws.reshape(-1)[: draws.size // count * count]).reshape(-1, count).max(axis=1)
            slack = 0.35 * std * math.sqrt(2 * math.log(max(count, 3)))
            assert groups.min() - slack < reach < groups.max() + slack, name
            if count > 5000:
                assert reach > 3 * std, f"{name}: nothing beyond three sigmas: it is cut"
    assert drawn >= (10 if scheme == "timm" else 14)

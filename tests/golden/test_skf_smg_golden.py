"""SKF's and SMG's self-contained pieces against numbers of their authors' code: outputs and every gradient stored."""

import re

import filling
import numpy as np
import paddle
import pytest

from ppllie.per_pixel_filter import filter_per_pixel
from ppllie.semantic_embedding import SemanticEmbedding
from ppllie.skf_histogram import histogram_loss
from ppllie.smg_loss import rcf_loss
from ppllie.smg_nets import AppearanceNet, StructureGuidedNet
from ppllie.spade import Spade

OUT, GRADIENT = 1e-5, 2e-5
PATHS = filling.files("llie_skf_smg")

# Official name -> ours, first pattern that fits.
SE_BLOCK = [
    (r"^conv1\.", "project."),
    (r"^(norm\d)\.body\.", r"\1."),
    (r"^attn\.project_out\.", "attention.out."),
    (r"^attn\.(q|kv)_dwconv\.", r"attention.\1_conv."),
    (r"^attn\.", "attention."),
    (r"^ffn\.dwconv\.", "feed_forward.depthwise."),
    (r"^ffn\.", "feed_forward."),
]
SPADE = [(r"^mlp_shared\.0\.", "shared."), (r"^mlp_(gamma|beta)\.", r"\1.")]
NET = [
    (r"^model([123])\.0\.", r"down\1."),
    (r"^model4\.0\.conv_block\.1\.", "bottom.0.conv1."),
    (r"^model4\.0\.conv_block\.4\.", "bottom.0.conv2."),
    (r"^model5\.0\.", "up1."),
    (r"^model6\.0\.", "up2."),
    (r"^model(?:7|_tail)\.0\.", "tail."),
    (r"^model(?:7|_tail)\.2\.", "out."),
    (r"^deconv([12])\.", r"up\1."),
    (r"^deconv([12])\1\.", r"guide\1.conv."),
    (r"^conv([12])_1\.0\.", r"guide\1.edge_conv."),
    (r"^fac_deblur([12])\.0\.0\.", r"guide\1.kernels.first."),
    (r"^fac_deblur([12])\.1\.stem\.0\.", r"guide\1.kernels.conv1."),
    (r"^fac_deblur([12])\.1\.stem\.2\.", r"guide\1.kernels.conv2."),
    (r"^fac_deblur([12])\.2\.0\.", r"guide\1.kernels.last."),
    (r"^norm([12])\.mlp_shared\.0\.", r"guide\1.spade.shared."),
    (r"^norm([12])\.mlp_(gamma|beta)\.", r"guide\1.spade.\2."),
]


def ours(key: str, table: list[tuple[str, str]]) -> str:
    pattern, name = next((pattern, name) for pattern, name in table if re.match(pattern, key))
    return re.sub(pattern, name, key)


def case_of(path, name):
    """(manifest of the case, its arrays under their names in it)"""
    manifest, arrays = filling.load(path)
    return manifest["cases"][name], {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}/")}


def filled(model, case, table):
    """The model with the case's weights, strictly, and {official name: parameter}."""
    state = filling.weights(case)
    own = dict(model.named_parameters())
    names = {key: ours(key, table) for key in state}
    assert sorted(names.values()) == sorted(own)
    for key, name in names.items():
        assert tuple(own[name].shape) == state[key].shape, key
        own[name].set_value(state[key])
    assert sum(p.size for p in own.values()) == case["params"]
    return {key: own[name] for key, name in names.items()}


def tensor(array):
    return paddle.to_tensor(array, stop_gradient=False)


def check(arrays, got, gaps=None):
    """Compares arrays by name: gradients with their bound, the others with that of outputs."""
    gaps = gaps or filling.Gaps()
    for name, value in got.items():
        bound = GRADIENT if "grad" in name else OUT
        gaps.add(name, filling.gap(np.asarray(value).reshape(arrays[name].shape), arrays[name]), bound)
    left = {k for k in arrays if not k.endswith("_f64") and not k.startswith("in_")} - set(got)
    assert left <= {"grad_out", "grad_norms"} | {k for k in left if k.startswith("grad_sample/")}, left
    gaps.check()


@pytest.mark.parametrize("path", PATHS)
def test_histogram_loss(path):
    _, arrays = case_of(path, "hist")
    labels, target = paddle.to_tensor(arrays["in_seg"].argmax(1)), paddle.to_tensor(arrays["in_target"])
    got = {}
    for normalization in ("snr", "drbn"):
        pred = tensor(arrays["in_pred"])
        loss = histogram_loss(pred, target, labels, 5, normalization, chunk=50)
        loss.backward()
        got[f"loss_{normalization}"] = loss.item()
    check(arrays, got | {"grad_pred": pred.grad.numpy()})


@pytest.mark.parametrize("path", PATHS)
def test_semantic_embedding(path):
    case, arrays = case_of(path, "se_block")
    model = SemanticEmbedding(12, 8)
    parameters = filled(model, case, SE_BLOCK)
    image, semantic = tensor(arrays["in_R"]), tensor(arrays["in_S"])
    out = model(image, semantic)
    paddle.autograd.backward([out], [paddle.to_tensor(arrays["grad_out"])])
    got = {f"grad/{key}": p.grad.numpy() for key, p in parameters.items()}
    check(arrays, got | {"out": out.numpy(), "grad_R": image.grad.numpy(), "grad_S": semantic.grad.numpy()})


@pytest.mark.parametrize("path", PATHS)
def test_per_pixel_filter(path):
    _, arrays = case_of(path, "fac")
    x, kernels = tensor(arrays["in_feat"]), tensor(arrays["in_kernel"])
    out = filter_per_pixel(x, kernels)
    (out**2).sum().backward()
    check(arrays, {"out": out.numpy(), "grad_feat": x.grad.numpy(), "grad_kernel": kernels.grad.numpy()})


def norms_and_samples(arrays, parameters, got):
    """The gaps of every parameter's gradient: norms, and samples of every ceil(size / 8)-th entry."""
    gaps = filling.Gaps()
    gradients = {key: p.grad.numpy() for key, p in parameters.items()}
    norms = np.array([np.linalg.norm(gradient.astype(np.float64)) for gradient in gradients.values()])
    gaps.add("gradient norms", filling.relative(norms, arrays["grad_norms"]), GRADIENT)
    for key, gradient in gradients.items():
        if f"grad_sample/{key}" in arrays:
            picked = gradient[tuple(slice(None, None, -(-size // 8)) for size in gradient.shape)]
            gaps.add(key, filling.gap(picked, arrays[f"grad_sample/{key}"]), GRADIENT)
    check(arrays, got, gaps)


@pytest.mark.parametrize("path", PATHS)
def test_spade(path):
    case, arrays = case_of(path, "spade")
    model = Spade(6)
    parameters = filled(model, case, SPADE)
    x = tensor(arrays["in_x"])
    out = model(x, paddle.to_tensor(arrays["in_seg"])[:, :, ::2, ::2])
    (out**2).mean().backward()
    norms_and_samples(arrays, parameters, {"out": out.numpy(), "grad_x": x.grad.numpy()})


@pytest.mark.parametrize("path", PATHS)
def test_structure_guided_net(path):
    case, arrays = case_of(path, "sgem4")
    model = StructureGuidedNet(width=4)
    parameters = filled(model, case, NET)
    x, edges = tensor(arrays["in_x"]), tensor(arrays["in_edge"])
    out = model(x, edges)
    (out**2).mean().backward()
    got = {"out": out.numpy(), "grad_in": x.grad.numpy(), "grad_edge": edges.grad.numpy()}
    norms_and_samples(arrays, parameters, got)


@pytest.mark.parametrize("path", PATHS)
def test_appearance_net(path):
    case, arrays = case_of(path, "am4")
    _, images = case_of(path, "sgem4")
    model = AppearanceNet(width=4)
    parameters = filled(model, case, NET)
    x = tensor(images["in_x"][:, :3])
    out = model(x)
    (out**2).mean().backward()
    norms_and_samples(arrays, parameters, {"out": out.numpy(), "grad_in": x.grad.numpy()})


@pytest.mark.parametrize("path", PATHS)
def test_rcf_loss(path):
    _, arrays = case_of(path, "rcf")
    edges = tensor(arrays["in_pred"])
    loss = rcf_loss(edges, paddle.to_tensor(arrays["in_label"]))
    loss.backward()
    check(arrays, {"loss": loss.item(), "grad_pred": edges.grad.numpy()})

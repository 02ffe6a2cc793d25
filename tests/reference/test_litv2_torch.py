"""The torch version that LITv2's stored reference comes from: against the authors' code, and ours against it at other sizes."""

import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

torch = pytest.importorskip("torch")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "golden")]
import filling  # noqa: E402
import torch_litv2  # noqa: E402

import ppcore.weights  # noqa: E402
from pplit import LITv2  # noqa: E402

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:When training, we now always track"),  # Paddle's batch norm
]
SIZES = ("img_size", "patch_size", "num_classes", "embed_dim", "depths", "num_heads", "local_ws", "alpha", "mlp_ratio")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("case", ["a0.5", "a0.9", "a1", "w4_128"])
@pytest.mark.parametrize("path", filling.files("tiny_lit"))
def test_is_the_authors_code(path, case, mode):
    manifest, arrays = filling.load(path)
    about = manifest["cases"][case]
    model = torch_litv2.LITv2(in_chans=3, **{name: about["config"][name] for name in SIZES})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in filling.weights(about).items()})
    model.train(mode == "train")
    size = about["config"]["img_size"]
    stages = model(torch.from_numpy(filling.images(filling.seed_of(path), (2, 3, size, size))))
    torch.nn.functional.cross_entropy(stages["logits"], torch.tensor(about["labels"])).backward()
    assert filling.gap(stages["logits"].detach().numpy(), arrays[f"{case}/{mode}/logits"]) < 2e-5
    zero = ("l_kv.bias", "h_qkv.bias", *(["dconv.bias"] if mode == "train" else []))  # in part
    compared = 0
    for name, p in model.named_parameters():
        if (key := f"{case}/{mode}/grad/{name}") in arrays and not name.endswith(zero):
            compared += 1
            assert filling.gap(p.grad.numpy(), arrays[key]) < 5e-5, name
    norms = dict(zip(about["grad_keys"], arrays[f"{case}/{mode}/grad_norms"], strict=True))
    for name, p in model.named_parameters():
        if not name.endswith(zero[2:]):
            assert float(p.grad.double().norm()) == pytest.approx(norms[name], rel=3e-4), name
    assert (compared > 80) == ((case, mode) == ("a0.5", "eval")), "of the others the file has norms alone"


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(("window", "size"), [(2, (64, 96)), (4, (128, 64)), (1, (32, 64))])
def test_ours_is_the_same_at_every_alpha_window_and_size(alpha, window, size):
    config = dict(
        img_size=size, patch_size=4, in_chans=3, num_classes=5, embed_dim=8, depths=[1, 2, 2, 1], num_heads=[1, 2, 4, 8],
        local_ws=[0, 0, window, 1], alpha=alpha, mlp_ratio=4,
    )  # fmt: skip
    theirs, ours = torch_litv2.LITv2(**config).eval(), LITv2(**config)
    with torch.no_grad():
        torch_litv2.fill(theirs, 3)
    state = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    ours.set_state_dict(ppcore.weights.convert(state, source="litv2", model=ours))
    ours.eval()
    x = np.random.default_rng(4).standard_normal((3, 3, *size)).astype(np.float32)
    with torch.no_grad():
        want = {name: tensor.numpy() for name, tensor in theirs(torch.from_numpy(x)).items()}
    with paddle.no_grad():
        found = {name: tensor.numpy() for name, tensor in ours.forward_intermediates(paddle.to_tensor(x)).items()}
    assert found.keys() == want.keys()
    for name, array in want.items():
        assert filling.gap(found[name], array) < 2e-5, name

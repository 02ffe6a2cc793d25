"""DeiT beside Hugging Face's in one process: same weights, same images, every number compared.

Marker `reference`; needs `pip install torch==2.13.0 "transformers>=5"`. Run with
`pytest -m reference tests/reference`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch transformers")
pytest.importorskip("transformers", minversion="5", reason="pip install transformers>=5")

import make_deit_reference  # noqa: E402
import paddle  # noqa: E402
import torch_deit  # noqa: E402
import torch_vit  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from transformers import DeiTForImageClassification  # noqa: E402

import ppcore.weights  # noqa: E402
from ppcore import losses  # noqa: E402
from ppcore.reproduce.fidelity import of_max  # noqa: E402
from ppdeit import DeiT, DeiT3, Distillation, DistilledVisionTransformer, hard_distillation, soft_distillation  # noqa: E402

BASE = dict(img_size=32, patch_size=8, in_chans=3, num_classes=10, embed_dim=48, depth=3, num_heads=3, mlp_dim=96)
CONFIGS = {
    "base": {},
    "one-block": dict(depth=1, num_heads=1),
    "many-heads": dict(num_heads=8, depth=2, mlp_dim=192),
    "small-patch": dict(patch_size=4, img_size=24),
    "no-qkv-bias": dict(qkv_bias=False),
    "grey": dict(in_chans=1, num_classes=3),
    "deep": dict(depth=8, embed_dim=32, num_heads=4, mlp_dim=64),
}


def batch(config: dict, count: int = 3, seed: int = 1):
    """(images, target probabilities, teacher's logits)."""
    rng = np.random.default_rng(seed)
    size, classes = config["img_size"], config["num_classes"]
    x = rng.standard_normal((count, config["in_chans"], size, size)).astype(np.float32)
    target = rng.dirichlet(np.full(classes, 0.3), count).astype(np.float32)
    return x, target, (2 * rng.standard_normal((count, classes))).astype(np.float32)


def filled(ours, theirs, seed: int = 0):
    """Both models with the same seeded weights; ours in evaluation mode."""
    arrays = torch_vit.fill(theirs, seed)
    ours.set_state_dict(ppcore.weights.convert(arrays, source="timm", model=ours))
    ours.eval()
    return ours, theirs


def same_gradients(ours, theirs) -> None:
    mine = {key: p.grad.numpy() for key, p in ours.named_parameters()}
    mine = ours.weight_maps()["timm"].from_paddle(mine, ours)
    expected = torch_vit.stacked(theirs, lambda p: p.grad)
    assert mine.keys() == expected.keys()
    for key, gradient in mine.items():
        reference = expected[key]
        if key.endswith("qkv.bias"):  # the key third is zero but for rounding
            third = len(reference) // 3
            gradient, reference = (np.delete(a, np.s_[third : 2 * third]) for a in (gradient, reference))
        assert of_max(gradient, reference) < 2e-5, key


@pytest.mark.parametrize("name", CONFIGS)
def test_distilled_forward_and_every_gradient(name):
    config = BASE | CONFIGS[name]
    ours, theirs = filled(DistilledVisionTransformer(**config), torch_deit.build(**config))
    x, target, teacher = batch(config)
    pixels, images = torch.from_numpy(x).requires_grad_(), paddle.to_tensor(x, stop_gradient=False)
    want = torch_deit.forward(theirs, pixels)
    stages = ours.forward_intermediates(images)
    assert set(want) == (set(stages) - {"pre_logits"}) | {"cls_logits", "dist_logits"}
    for stage in set(want) & set(stages):
        assert of_max(stages[stage].numpy(), want[stage].detach().numpy()) < 1e-5, stage
    # Evaluation returns the mean or one head, training the pair.
    for eval_head, key in (("mean", "logits"), ("class", "cls_logits"), ("distillation", "dist_logits")):
        ours.eval_head = eval_head
        assert of_max(ours(images).detach().numpy(), want[key].detach().numpy()) < 1e-5, eval_head
    ours.eval_head = "mean"
    norm = want["norm"].detach().numpy()
    assert of_max(stages["pre_logits"].numpy(), norm[:, :2].mean(1)) < 1e-5
    ours.train()
    heads = ours(images)
    for got, key in zip(heads, ("cls_logits", "dist_logits"), strict=True):
        assert of_max(got.detach().numpy(), want[key].detach().numpy()) < 1e-5, key

    recipe = dict(mode="soft", kl="batchmean", alpha=0.4, tau=2.0)
    given = torch.from_numpy(np.stack([target, teacher], 1))
    expected = torch_deit.distillation(recipe)((want["cls_logits"], want["dist_logits"]), given)
    expected.backward()
    criterion = Distillation(base=losses.CrossEntropy(), teacher=lambda _: paddle.to_tensor(teacher), **recipe)
    loss = criterion(heads, {"target": paddle.to_tensor(target), "image": images})
    loss.backward()
    assert abs(float(loss) - expected.item()) < 1e-5 * expected.item()
    assert of_max(images.grad.numpy(), pixels.grad.numpy()) < 2e-5
    same_gradients(ours, theirs)


@pytest.mark.parametrize("name", ["base", "no-qkv-bias"])
def test_attention_of_both_tokens(name):
    config = BASE | CONFIGS[name]
    ours, theirs = filled(DistilledVisionTransformer(**config), torch_deit.build(**config))
    x, _, _ = batch(config)
    want = theirs(torch.from_numpy(x), output_attentions=True).attentions
    got = ours.attention_maps(paddle.to_tensor(x))
    assert len(got) == len(want) == config["depth"]
    for mine, reference in zip(got, want, strict=True):
        assert mine.shape[-1] == 2 + (config["img_size"] // config["patch_size"]) ** 2
        assert of_max(mine.numpy(), reference.detach().numpy()) < 1e-5


def test_their_classifier_without_teacher_is_our_class_head():
    """Hugging Face's plain DeiT keeps the distillation token and has no head on it."""
    ours, theirs = filled(DistilledVisionTransformer(**BASE, eval_head="class"), torch_deit.build(**BASE))
    plain = DeiTForImageClassification(theirs.config).eval()
    state = {name.replace("cls_classifier", "classifier"): tensor for name, tensor in theirs.state_dict().items()}
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("distillation_classifier")}
    plain.load_state_dict(kept, strict=True)
    x, _, _ = batch(BASE)
    want = plain(torch.from_numpy(x)).logits.detach().numpy()
    assert of_max(ours(paddle.to_tensor(x)).detach().numpy(), want) < 1e-5


@pytest.mark.parametrize("name", ["base", "small-patch"])
def test_plain_deit_is_vit(name):
    config = BASE | CONFIGS[name]
    ours, theirs = filled(DeiT(**config), torch_vit.build(**config))
    x, target, _ = batch(config)
    want = theirs(torch.from_numpy(x)).logits
    got = ours(paddle.to_tensor(x))
    assert of_max(got.detach().numpy(), want.detach().numpy()) < 1e-5
    torch_vit.soft_cross_entropy(want, torch.from_numpy(target)).backward()
    losses.CrossEntropy()(got, {"target": paddle.to_tensor(target)}).backward()
    same_gradients(ours, theirs)


@pytest.mark.parametrize("name", ["base", "one-block", "small-patch", "deep"])
def test_deit3_forward_and_every_gradient(name):
    config = BASE | CONFIGS[name]
    config["mlp_ratio"] = config.pop("mlp_dim") // config["embed_dim"]
    ours, theirs = filled(DeiT3(**config, layer_scale_init=1e-4), torch_deit.build_deit3(**config))
    x, target, _ = batch(config)
    target = (target > 0.1).astype(np.float32)
    pixels, images = torch.from_numpy(x).requires_grad_(), paddle.to_tensor(x, stop_gradient=False)
    want = torch_vit.forward(theirs, pixels)
    stages = ours.forward_intermediates(images)
    assert set(want) == set(stages) - {"pre_logits"}
    for stage, tensor in want.items():
        assert of_max(stages[stage].numpy(), tensor.detach().numpy()) < 1e-5, stage
    F.binary_cross_entropy_with_logits(want["logits"], torch.from_numpy(target)).backward()
    losses.BinaryCrossEntropy()(stages["logits"], {"target": paddle.to_tensor(target)}).backward()
    assert of_max(images.grad.numpy(), pixels.grad.numpy()) < 2e-5
    same_gradients(ours, theirs)


class TestDistillationLosses:
    """Values and the student's gradient, on ordinary and on extreme logits."""

    def compare(self, scale, ours, theirs):
        rng = np.random.default_rng(int(scale))
        student, teacher = (scale * rng.standard_normal((5, 7)).astype(np.float32) for _ in range(2))
        mine, their = paddle.to_tensor(student, stop_gradient=False), torch.from_numpy(student).requires_grad_()
        opinion = paddle.to_tensor(teacher, stop_gradient=False)
        got, want = ours(mine, opinion), theirs(their, torch.from_numpy(teacher))
        got.backward()
        want.backward()
        assert want.item() > 1e-3
        assert abs(float(got) - want.item()) < 1e-5 * want.item()
        assert of_max(mine.grad.numpy(), their.grad.numpy()) < 1e-5
        assert np.abs(mine.grad.numpy()).max() > 1e-4
        assert opinion.grad is None

    @pytest.mark.parametrize("scale", [1.0, 30.0])
    @pytest.mark.parametrize("tau", [1.0, 3.0])
    def test_soft_by_batch(self, scale, tau):
        def theirs(student, teacher):
            log = F.log_softmax(student / tau, 1)
            return F.kl_div(log, F.softmax(teacher / tau, 1), reduction="batchmean") * tau**2

        self.compare(scale, lambda s, t: soft_distillation(s, t, tau, "batchmean"), theirs)

    @pytest.mark.parametrize("scale", [1.0, 30.0])
    @pytest.mark.parametrize("tau", [1.0, 3.0])
    def test_soft_by_element(self, scale, tau):
        def theirs(student, teacher):
            # torch's reduction="mean" divides by all elements, as the official code does by hand.
            log, target = F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1)
            return F.kl_div(log, target, reduction="mean", log_target=True) * tau**2

        with pytest.warns(UserWarning, match="batchmean"):  # torch knows what that does
            self.compare(scale, lambda s, t: soft_distillation(s, t, tau, "numel"), theirs)

    @pytest.mark.parametrize("scale", [1.0, 30.0])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_hard(self, scale, smoothing):
        self.compare(
            scale,
            lambda s, t: hard_distillation(s, t, smoothing),
            lambda s, t: F.cross_entropy(s, t.argmax(1), label_smoothing=smoothing),
        )


@pytest.mark.parametrize(("name", "script"), [("deit_tiny", "compute"), ("deit3_tiny", "compute3")])
def test_the_stored_files_are_what_the_script_computes(name, script):
    folder = Path(__file__).parents[1] / "fidelity_data"
    stored, facts = np.load(folder / f"{name}.npz"), json.loads((folder / f"{name}.json").read_text())
    fresh_facts = getattr(make_deit_reference, script.replace("compute", "facts"))()
    assert facts | {"versions": None} == fresh_facts | {"versions": None}
    fresh = getattr(make_deit_reference, script)()
    assert set(stored.files) == set(fresh)
    for key, array in fresh.items():
        if key.startswith("weights/") or ("/" not in key and key != "loss"):
            np.testing.assert_array_equal(stored[key], array, err_msg=key)
        elif not key.endswith(("qkv.bias", "final_norms")):
            assert of_max(stored[key], array) < 2e-5, key

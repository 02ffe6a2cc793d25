"""Fine-tuning and linear probe of MAE against the official code: features, rates by layer, schedules, the probe's training."""

import filling
import numpy as np
import paddle
import pytest

from ppcore import optim, weights
from ppcore.config.durations import Duration, Plan
from ppcore.layers.sincos import sincos_positions
from ppcore.losses import CrossEntropy
from ppcore.schedules import ViTSchedule
from ppssl import FineTunedViT, LinearProbeViT


@pytest.mark.parametrize("path", filling.files("ssl_mae_tiny"))
def test_the_mean_is_normalized_when_it_is_taken(path):
    """The pre-trained norm takes fc_norm's place, as in the file; `pool=gap` alone is the other order."""
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    drawn = filling.weights(manifest)
    drawn |= {f"fc_{name}": drawn[name] for name in ("norm.weight", "norm.bias")}
    grid = config["img"] // config["patch"]
    drawn["pos_embed"] = sincos_positions(config["d"], (grid, grid)).astype("float32")
    gaps = filling.Gaps()
    for name, changes in (
        ("pooled_then_norm", {}),
        ("norm_then_pooled", {"fc_norm": False}),
        ("class_feature", {"pool": "token"}),
    ):
        model = FineTunedViT(
            img_size=config["img"], patch_size=config["patch"], embed_dim=config["d"], depth=config["depth"],
            num_heads=config["heads"], num_classes=0, **changes,
        )  # fmt: skip
        needed = {n: a for n, a in drawn.items() if not changes or not n.startswith("fc_")}
        model.set_state_dict(weights.convert(needed, source="mae", model=model))
        gaps.add(name, filling.gap(model(paddle.to_tensor(arrays["x"])).numpy(), arrays[f"full/{name}"]), 1e-5)
    gaps.check()
    assert filling.gap(arrays["full/norm_then_pooled"], arrays["full/pooled_then_norm"]) > 0.1


@pytest.mark.parametrize(
    ("case", "decay", "changes"),
    [("vit_b_0.65_global_pool", 0.65, {}), ("vit_b_0.75_class_token", 0.75, {"pool": "token"})],
)
def test_rates_and_decay_by_name(golden, case, decay, changes):
    """ViT-B's names; narrower, as names and ranks decide."""
    manifest, arrays = filling.load(golden / "ssl_layer_decay.json")
    model = FineTunedViT(img_size=32, embed_dim=4, num_heads=2, depth=12, num_classes=3, **changes)
    made = optim.make(
        model, optim.AdamW, weight_decay=0.05, no_weight_decay=["1d", "pos_embed", "cls_token"], layer_decay=decay
    )
    ours = dict(model.named_parameters())
    names = manifest["names"][case]
    assert sorted(names) == sorted(ours)
    assert [model.layer_ids()[name] for name in names] == arrays[f"{case}/layer_id"].tolist()
    rates = [ours[name].optimize_attr["learning_rate"] for name in names]
    np.testing.assert_allclose(rates, arrays[f"{case}/lr_scale"], rtol=1e-12)
    decays = [0.05 * made._apply_decay_param_fun(ours[name].name) for name in names]
    np.testing.assert_allclose(decays, arrays[f"{case}/weight_decay"], rtol=1e-12)
    if "norm.weight" in names:  # timm puts it with the last block
        place = names.index("norm.weight")
        assert rates[place] == 1.0 != arrays[f"{case}/timm_1.0.31_lr_scale"][place]


@pytest.mark.parametrize(
    ("name", "base", "warmup", "epochs", "steps", "end"),
    [
        ("pretrain_800ep_4it", 1.5e-4 * 4096 / 256, 40, 800, 4, 0.0),
        ("finetune_b_100ep_5it", 5e-4 * 1024 / 256, 5, 100, 5, 1e-6),
        ("linprobe_90ep_5it", 0.1 * 16384 / 256, 10, 90, 5, 0.0),
    ],
)
def test_schedules(golden, name, base, warmup, epochs, steps, end):
    _, arrays = filling.load(golden / "ssl_schedules.json")
    made = ViTSchedule(base_lr=base, warmup=Duration(epochs=warmup), cosine_end=end).bind(
        Plan(steps, 1, epochs * steps)
    )
    want = arrays[f"mae_lr/{name}"]
    np.testing.assert_allclose([made(step) for step in range(len(want))], want, rtol=1e-12, atol=1e-15)


def lars(parameter: paddle.Tensor, momentum: np.ndarray, rate: float) -> np.ndarray:
    """A step of LARS as MoCo v3 and MAE have it, weight decay 0: the trust ratio for matrices, the rate outside the momentum."""
    gradient, weight = (t.numpy().astype(np.float64) for t in (parameter.grad, parameter))
    norms = [np.linalg.norm(array) for array in (weight, gradient)]
    trust = 0.001 * norms[0] / norms[1] if weight.ndim > 1 and min(norms) > 0 else 1.0
    momentum = 0.9 * momentum + trust * gradient
    parameter.set_value((weight - rate * momentum).astype("float32"))
    return momentum


@pytest.mark.parametrize("path", filling.files("ssl_linprobe"))
def test_a_probe_of_twenty_steps(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    # One block before the head: what is given are the features.
    model = LinearProbeViT(
        img_size=4, patch_size=4, embed_dim=config["d"], depth=1, num_heads=1, num_classes=config["classes"]
    )
    head, drawn = model.head, filling.weights(manifest)
    assert [name for name, p in model.named_parameters() if not p.stop_gradient] == ["head.1.weight", "head.1.bias"]
    head[1].weight.set_value(drawn["1.weight"].T)
    head[1].bias.set_value(drawn["1.bias"])
    head.train()
    trained = {"weight": head[1].weight, "bias": head[1].bias}
    momenta = {name: np.zeros(p.shape) for name, p in trained.items()}
    x, y, found = paddle.to_tensor(arrays["x"]), paddle.to_tensor(arrays["y"]), []
    for rate in arrays["lr"]:
        loss = CrossEntropy()(head(x), {"label": y})
        loss.backward()
        found.append(float(loss))
        for name, p in trained.items():
            momenta[name] = lars(p, momenta[name], rate)
            p.clear_gradient(False)
    head.eval()
    logits = head(paddle.to_tensor(arrays["x_test"])).numpy()
    gaps = filling.Gaps()
    got = {
        "loss": np.array(found),
        "running_mean": head[0].running_mean.numpy(),
        "running_var": head[0].running_var.numpy(),
        "weight": head[1].weight.numpy().T,
        "bias": head[1].bias.numpy(),
        "eval_logits": logits,
    }
    for name, value in got.items():
        gaps.add(name, filling.gap(value, arrays[name]), 2e-5)
    gaps.check()
    assert (logits.argmax(1) == arrays["y_test"]).mean() == manifest["test_accuracy"]
    assert filling.gap(got["running_var"], arrays["running_var_if_biased"]) > 1e-2, "not Paddle's biased one"

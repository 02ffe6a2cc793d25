"""Gradient checkpointing: the same numbers, less kept, and nothing where nothing is differentiated."""

import contextlib

import numpy as np
import paddle
import pytest
from paddle.base import core
from paddle.base.framework import _dygraph_tracer

import ppdeit
import ppvit
from ppcore import config
from ppcore.engine.recompute import recompute_blocks
from ppcore.engine.train import train
from ppcore.errors import ConfigError
from ppcore.io import sha256
from ppcore.losses import CrossEntropy

SIZE = dict(
    img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=3, num_classes=5, drop_rate=0.2, attn_drop_rate=0.1,
    drop_path_rate=0.3, layer_scale_init=0.3,
)  # fmt: skip
MODELS = {"ViT": ppvit.VisionTransformer, "two heads": ppdeit.DistilledVisionTransformer}
X = paddle.to_tensor(np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype("float32"))
Y = paddle.to_tensor([1, 2, 0, 4])


@pytest.fixture
def forwards(monkeypatch):
    """How often a block has run forward."""
    count = []
    original = ppvit.vit.Block.forward

    def forward(block, x):
        count.append(block)
        return original(block, x)

    monkeypatch.setattr(ppvit.vit.Block, "forward", forward)
    return count


def network(name="ViT", *, recompute):
    paddle.seed(1)
    made = MODELS[name](**SIZE)
    made.train()
    if recompute:
        assert recompute_blocks(made) == 3
    return made


def loss_of(model):
    outputs = model(X)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum(CrossEntropy()(one, {"label": Y}) for one in outputs)


@pytest.mark.parametrize("name", MODELS)
def test_loss_gradients_and_random_numbers_are_the_same(name, forwards):
    """With dropout and stochastic depth; also of two micro-batches, and of what is drawn afterwards."""
    found = []
    for recompute in (False, True):
        model = network(name, recompute=recompute)
        paddle.seed(7)
        losses = [loss_of(model) for _ in range(2)]
        for loss in losses:
            (loss / 2).backward()
        gradients = {key: p.grad.numpy() for key, p in model.named_parameters()}
        found.append((*map(float, losses), gradients, paddle.rand([3]).numpy()))
    assert len(forwards) == 2 * 3 + 2 * 6
    plain, ours = found
    assert plain[0] != plain[1]
    assert plain[:2] == ours[:2]
    assert plain[2].keys() == ours[2].keys()
    for key, gradient in plain[2].items():
        np.testing.assert_array_equal(gradient, ours[2][key], err_msg=key)
    np.testing.assert_array_equal(plain[3], ours[3])


def test_the_state_keeps_its_names():
    assert network(recompute=True).state_dict().keys() == network(recompute=False).state_dict().keys()


def test_nothing_is_computed_again_where_nothing_is_differentiated(forwards):
    model = network(recompute=True)
    model.eval()
    with paddle.no_grad():
        outputs = model(X)
    assert len(forwards) == 3
    plain = network(recompute=False)
    plain.eval()
    np.testing.assert_array_equal(outputs.numpy(), plain(X).numpy())


def test_fine_tuning_without_dropout_recomputes_too(forwards):
    """`Global.eval_mode_training` trains a network that is in evaluation mode."""
    model = network(recompute=True)
    model.eval()
    loss_of(model).backward()
    assert len(forwards) == 6


def test_after_frozen_layers_the_first_block_still_gets_its_gradients():
    found = []
    for recompute in (False, True):
        model = network(recompute=recompute)
        for name, parameter in model.named_parameters():
            parameter.stop_gradient = not name.startswith(("blocks", "norm", "head"))
        paddle.seed(7)
        loss_of(model).backward()
        found.append(model.blocks[0].mlp.fc1.weight.grad.numpy())
    assert np.abs(found[0]).max() > 0
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_blocks_are_computed_again_under_the_autocast_of_the_first_time(level, dtype, monkeypatch):
    """On a CPU, which has no autocast: what Paddle is asked for, after the forward pass's own has ended."""
    asked = []

    @contextlib.contextmanager
    def auto_cast(**settings):
        asked.append(settings)
        yield

    model, tracer = network(recompute=True), _dygraph_tracer()
    before = tracer._amp_level, tracer._amp_dtype, tracer._get_amp_op_list()
    tracer._amp_level, tracer._amp_dtype = getattr(core.AmpLevel, level), dtype
    tracer._set_amp_op_list(set(), {"matmul_v2", "matmul", "conv2d", "elementwise_add"})  # all stays float32
    try:
        loss = loss_of(model)
    finally:
        tracer._amp_level, tracer._amp_dtype = before[:2]
        tracer._set_amp_op_list(*before[2])
    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    loss.backward()
    again = [settings for settings in asked if settings["enable"]]
    assert len(again) == 3
    assert {(settings["level"], settings["dtype"]) for settings in again} == {(level, dtype)}


def test_a_network_without_blocks_is_refused(tiny_config):
    network = "{name: ppdeit.RegNet, widths: [8], depths: [1], group_width: 4, stem_width: 4, num_classes: 10}"
    options = [f"Arch={network}", "Global.recompute=true", "Optimizer.no_weight_decay=[1d]"]
    with pytest.raises(ConfigError, match=r"Global\.recompute: RegNet does not say which of its layers are blocks"):
        train(config.load(tiny_config, options))


def test_a_training_ends_with_the_same_bits(tiny_config, tmp_path, tool):
    """With dropout, accumulation and a moving average."""
    options = ["Arch.drop_rate=0.1", "Arch.drop_path_rate=0.2", "Optimizer.accumulate=2", "EMA={decay: 0.9}"]

    def run(folder, *more):
        texts = [text for option in (*options, *more) for text in ("-o", option)]
        done = tool("train", "-c", tiny_config, *texts, "-o", f"Global.output_dir={tmp_path / folder}")
        assert done.returncode == 0, done.stderr
        return done.stderr

    run("plain")
    assert "2 blocks are computed again" in run("ours", "Global.recompute=true")
    for name in ("weights", "optimizer", "ema"):
        plain, ours = (tmp_path / run / "checkpoints" / "step_20" / f"{name}.safetensors" for run in ("plain", "ours"))
        assert sha256(plain) == sha256(ours)

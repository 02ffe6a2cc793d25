"""What a pre-trained encoder is handed on to: fine-tuning by its mean or class token, DeiT, a linear probe; nothing unlisted."""

import numpy as np
import paddle
import pytest
import test_mae

import ppssl
from ppcore import optim, weights
from ppcore.errors import ConfigError, WeightsError
from ppcore.model import parameter_count
from ppdeit import deit_tiny_patch16_224
from ppssl.probe_head import FeatureNorm
from ppvit import VisionTransformer

SIZE = {**test_mae.SIZE, "num_classes": 5}


@pytest.fixture
def pretrained(tmp_path):
    """A masked autoencoder and its weights in the official layout."""
    model = test_mae.network()
    weights.save(model, tmp_path / "mae.safetensors", layout="mae")
    return model, tmp_path / "mae.safetensors"


class TestHandOver:
    @pytest.mark.parametrize(
        ("build", "fresh"),
        [
            (lambda: ppssl.FineTunedViT(**SIZE), {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}),
            (lambda: ppssl.FineTunedViT(**SIZE, pool="token"), {"head.weight", "head.bias"}),
            (lambda: VisionTransformer(**SIZE), {"head.weight", "head.bias"}),
            (lambda: deit_tiny_patch16_224(**SIZE), {"head.weight", "head.bias"}),
            (
                lambda: ppssl.LinearProbeViT(**SIZE),
                {"head.0.running_mean", "head.0.running_var", "head.1.weight", "head.1.bias"},
            ),
        ],
        ids=["mean", "token", "vit", "deit", "probe"],
    )
    def test_all_but_the_listed_comes_from_the_encoder(self, pretrained, build, fresh):
        source, path = pretrained
        model = build()
        own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        notes = weights.load(model, path, "mae", new_head=True)
        theirs = source.state_dict()
        assert {note.partition(":")[0] for note in notes} == {name.partition(".")[0] for name in fresh}
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor, own[name] if name in fresh else theirs[name], err_msg=name)
        unused = {name for name in theirs if name not in own}
        left = {name for name in unused if not name.startswith(("decoder_", "mask_token"))}
        assert left == ({"norm.weight", "norm.bias"} if "fc_norm.weight" in fresh else set())

    @pytest.mark.parametrize("build", [ppssl.FineTunedViT, ppssl.LinearProbeViT, VisionTransformer])
    def test_a_checkpoint_of_our_own_is_as_good(self, pretrained, tmp_path, build):
        """In Paddle's layouts, which square matrices would fit transposed, too."""
        source, official = pretrained
        weights.save(source, tmp_path / "own.pdparams")
        models = [build(**SIZE), build(**SIZE)]
        weights.load(models[0], official, "mae", new_head=True)
        weights.load(models[1], tmp_path / "own.pdparams", "pretraining", new_head=True)
        for name, tensor in models[0].state_dict().items():
            if not name.startswith("head"):
                np.testing.assert_array_equal(models[1].state_dict()[name], tensor, err_msg=name)
        arrays = {**weights.export(source, layout="paddle"), "decoder_weight": np.zeros(3)}
        with pytest.raises(WeightsError, match="unexpected decoder_weight"):
            weights.convert(arrays, source="pretraining", model=models[0], new_head=True)
        with pytest.raises(WeightsError, match=r"unexpected .*decoder_blocks\.0"):
            weights.load(models[0], tmp_path / "own.pdparams", new_head=True)

    def test_what_is_not_listed_is_an_error(self, pretrained):
        source, _ = pretrained
        arrays = weights.export(source, layout="mae")
        model = ppssl.FineTunedViT(**SIZE)
        for extra in (
            "decoder_head.scale.weight.x",
            "projection_head.0.weight",
            "blocks.2.norm1.weight",
            "mask_tokens",
        ):
            with pytest.raises(WeightsError, match=f"unexpected {extra}"):
                weights.convert({**arrays, extra: np.zeros(3)}, source="mae", model=model, new_head=True)
        gone = {name: a for name, a in arrays.items() if name != "blocks.1.mlp.fc1.bias"}
        with pytest.raises(WeightsError, match=r"missing blocks\.1\.mlp\.fc1\.bias"):
            weights.convert(gone, source="mae", model=model, new_head=True)
        with pytest.raises(WeightsError, match=r"missing .*fc_norm\.weight.*new_head=True"):
            weights.convert(arrays, source="mae", model=model)

    def test_what_was_fine_tuned_is_whole(self, tmp_path):
        model, other = ppssl.FineTunedViT(**SIZE), ppssl.FineTunedViT(**SIZE)
        model.fc_norm.bias.set_value(paddle.ones([16]))
        weights.save(model, tmp_path / "tuned.safetensors", layout="mae")
        assert weights.load(other, tmp_path / "tuned.safetensors", "mae") == []
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor, other.state_dict()[name])

    def test_positions_are_resampled_by_size_and_learned(self, pretrained):
        model = ppssl.FineTunedViT(**{**SIZE, "img_size": 24})
        notes = weights.load(model, pretrained[1], "mae", new_head=True)
        assert "4x4 grid resampled to 6x6 (deit_bicubic)" in notes[0]
        assert not model.pos_embed.stop_gradient


class TestFineTunedViT:
    def test_norms_the_mean_and_begins_near_zero(self):
        model, x = ppssl.FineTunedViT(**SIZE), paddle.to_tensor(test_mae.images())
        tokens = model.forward_features(x)
        pooled = tokens[:, 1:].mean(1)
        np.testing.assert_allclose(model(x), model.head(model.fc_norm(pooled)), atol=1e-6)
        assert np.abs(model.forward_head(tokens, pre_logits=True).numpy().mean(1)).max() < 1e-5, "normalised"
        assert 0 < model.head.weight.numpy().std() < 4e-5
        assert np.abs((model.fc_norm(tokens[:, 1:]).mean(1) - model.fc_norm(pooled)).numpy()).max() > 1e-2, (
            "the order matters"
        )

    @pytest.mark.parametrize(
        ("name", "count"),
        [("base_patch16", 86_567_656), ("large_patch16", 304_326_632), ("huge_patch14", 632_045_800)],
    )
    def test_published_sizes(self, name, count):
        with paddle.LazyGuard():
            model = vars(ppssl)[f"mae_finetune_vit_{name}"]()
            token = VisionTransformer(**SIZE, pool="gap")
        assert parameter_count(model) == count
        assert {"fc_norm.weight", "fc_norm.bias"} <= model.state_dict().keys()
        assert "norm.weight" not in model.state_dict()
        assert "fc_norm.weight" not in token.state_dict()

    def test_fc_norm_is_of_the_mean(self):
        with pytest.raises(ConfigError, match="fc_norm is True, but must be false"):
            VisionTransformer(**SIZE, fc_norm=True)

    def test_rates_by_layer_reach_the_update(self):
        """The peer's mistake: a factor that the optimiser does not read. By SGD a layer moves as far as its factor says."""
        model = ppssl.FineTunedViT(**SIZE)
        made = optim.make(model, optim.SGD, weight_decay=0.0, no_weight_decay=[], layer_decay=0.5)
        before = {name: p.numpy().astype(float) for name, p in model.named_parameters()}
        made.set_lr(1e-2)
        (model(paddle.to_tensor(test_mae.images())) ** 2).sum().backward()
        slopes = {name: p.grad.numpy().astype(float) for name, p in model.named_parameters()}
        made.step()
        for name, layer in model.layer_ids().items():
            moved = before[name] - dict(model.named_parameters())[name].numpy()
            np.testing.assert_allclose(
                moved, 1e-2 * 0.5 ** (3 - layer) * slopes[name], rtol=1e-3, atol=2e-7, err_msg=name
            )


class TestLinearProbe:
    def test_only_the_last_layer_learns(self):
        model = ppssl.LinearProbeViT(**SIZE)
        assert [name for name, p in model.named_parameters() if not p.stop_gradient] == ["head.1.weight", "head.1.bias"]
        model.train()
        model(paddle.to_tensor(test_mae.images())).sum().backward()
        assert model.blocks[0].mlp.fc1.weight.grad is None
        assert model.head[1].weight.grad is not None
        assert model.head[1].weight.numpy().std() == pytest.approx(0.01, rel=0.3)

    @pytest.mark.parametrize(
        ("name", "count"), [("base_patch16", 769_000), ("large_patch16", 1_025_000), ("huge_patch14", 1_281_000)]
    )
    def test_published_sizes(self, name, count):
        with paddle.LazyGuard():
            model = vars(ppssl)[f"mae_linprobe_vit_{name}"]()
        assert sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient) == count

    def test_official_names_both_ways(self):
        model, other = ppssl.LinearProbeViT(**SIZE), ppssl.LinearProbeViT(**SIZE)
        model.train()
        model(paddle.to_tensor(test_mae.images()))
        theirs = weights.export(model, layout="mae")
        assert {"head.0.running_mean", "head.0.running_var", "head.1.weight", "head.1.bias"} <= theirs.keys()
        theirs["head.0.num_batches_tracked"] = np.array(1)
        other.set_state_dict(weights.convert(theirs, source="mae", model=other))
        model.eval()
        other.eval()
        x = paddle.to_tensor(test_mae.images(seed=8))
        np.testing.assert_array_equal(model(x), other(x))

    def test_a_probe_has_classes(self):
        with pytest.raises(ConfigError, match="num_classes is 0"):
            ppssl.LinearProbeViT(**{**SIZE, "num_classes": 0})


def test_feature_norm_normalises_by_the_biased_and_keeps_the_unbiased_variance():
    layer = FeatureNorm(3)
    x = test_mae.images(8, 3) * [1.0, 2.0, 3.0] + 4
    batches = [x.astype("float32"), test_mae.images(8, 3, seed=2)]
    mean, variance = np.zeros(3), np.ones(3)
    for batch in batches:
        got = layer(paddle.to_tensor(batch))
        wide = batch.astype(float)
        np.testing.assert_allclose(got, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-6), atol=1e-5)
        mean, variance = 0.9 * mean + 0.1 * wide.mean(0), 0.9 * variance + 0.1 * wide.var(0, ddof=1)
    layer.eval()
    np.testing.assert_allclose(layer(paddle.to_tensor(batches[0])), (x - mean) / np.sqrt(variance + 1e-6), atol=1e-5)
    assert not layer.parameters()
    assert layer.state_dict().keys() == {"running_mean", "running_var"}

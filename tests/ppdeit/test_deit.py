"""DeiT and DeiT III: structure, outputs, initial values."""

import numpy as np
import paddle
import pytest

import ppdeit
from ppcore.config import components
from ppcore.errors import ConfigError
from ppcore.reproduce.fidelity import count_parameters

TINY = dict(img_size=16, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=7)
# Official code and timm 1.0.31.
COUNTS = {
    "deit_tiny_patch16_224": (5_717_416, 152),
    "deit_small_patch16_224": (22_050_664, 152),
    "deit_base_patch16_224": (86_567_656, 152),
    "deit_base_patch16_384": (86_859_496, 152),
    "deit_tiny_distilled_patch16_224": (5_910_800, 155),
    "deit_small_distilled_patch16_224": (22_436_432, 155),
    "deit_base_distilled_patch16_224": (87_338_192, 155),
    "deit_base_distilled_patch16_384": (87_630_032, 155),
    "deit3_small_patch16_224": (22_059_496, 176),
    "deit3_small_patch16_384": (22_205_416, 176),
    "deit3_medium_patch16_224": (38_849_512, 176),
    "deit3_medium_patch16_384": (39_044_072, 176),
    "deit3_base_patch16_224": (86_585_320, 176),
    "deit3_base_patch16_384": (86_877_160, 176),
    "deit3_large_patch16_224": (304_374_760, 344),
    "deit3_large_patch16_384": (304_763_880, 344),
    "deit3_huge_patch14_224": (632_126_440, 456),
}


def distilled(**options) -> ppdeit.DistilledVisionTransformer:
    paddle.seed(0)
    return ppdeit.DistilledVisionTransformer(**(TINY | options))


def images(count: int = 2, size: int = 16) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).standard_normal((count, 3, size, size)).astype(np.float32))


class TestBuilders:
    @pytest.mark.parametrize("name", COUNTS)
    def test_parameters_and_tensors_to_the_unit(self, name):
        builder = getattr(ppdeit, name)
        assert count_parameters(builder) == COUNTS[name][0]
        with paddle.LazyGuard():
            assert len(builder().state_dict()) == COUNTS[name][1]

    def test_all_are_public_and_no_others(self):
        found = {n for n in ppdeit.__all__ if n.startswith("deit")}
        assert found == set(COUNTS)

    @pytest.mark.parametrize("name", COUNTS)
    def test_unknown_arguments_are_refused_before_building(self, name):
        components.check({"name": f"ppdeit.{name}", "drop_path_rate": 0.1}, "Arch")
        with pytest.raises(ConfigError, match="did you mean 'drop_path_rate'"):
            components.check({"name": f"ppdeit.{name}", "drop_path_rat": 0.1}, "Arch")
        with pytest.raises(TypeError):
            getattr(ppdeit, name)(drop_path_rat=0.1)

    def test_only_distilled_ones_have_an_eval_head(self):
        components.check({"name": "ppdeit.deit_tiny_distilled_patch16_224", "eval_head": "class"}, "Arch")
        with pytest.raises(ConfigError, match="no argument 'eval_head'"):
            components.check({"name": "ppdeit.deit_tiny_patch16_224", "eval_head": "class"}, "Arch")

    @pytest.mark.parametrize("size", ["small", "medium", "base", "large"])
    def test_deit3_has_the_papers_layer_scale_and_constant_drop_path(self, size):
        with paddle.LazyGuard():
            model = getattr(ppdeit, f"deit3_{size}_patch16_224")(drop_path_rate=0.2)
        assert {rate for block in model.blocks for rate in (block.drop_path1.rate, block.drop_path2.rate)} == {0.2}
        with paddle.LazyGuard():
            linear = ppdeit.deit_tiny_patch16_224(drop_path_rate=0.1)
        rates = [block.drop_path1.rate for block in linear.blocks]
        np.testing.assert_allclose(rates, np.linspace(0, 0.1, 12), atol=1e-7)


class TestDistilled:
    def test_training_returns_both_heads_and_evaluation_their_mean(self):
        model = distilled()
        model.train()
        outputs = model(images())
        assert isinstance(outputs, tuple)
        assert [o.shape for o in outputs] == [[2, 7], [2, 7]]
        assert float((outputs[0] - outputs[1]).abs().max()) > 1e-3
        model.eval()
        np.testing.assert_array_equal(model(images()).numpy(), ((outputs[0] + outputs[1]) / 2).numpy())

    @pytest.mark.parametrize(("head", "index"), [("class", 0), ("distillation", 1)])
    def test_one_head_alone(self, head, index):
        model = distilled(eval_head=head)
        assert model.tokens_read == (index,)
        assert distilled().tokens_read == (0, 1)
        model.train()
        want = model(images())[index]
        model.eval()
        np.testing.assert_array_equal(model(images()).numpy(), want.numpy())

    def test_it_is_its_parts(self):
        model = distilled()
        model.eval()
        x = images()
        tokens = model.forward_features(x)
        assert tokens.shape == [2, 6, 24]
        stages = model.forward_intermediates(x)
        np.testing.assert_array_equal(stages["norm"].numpy(), tokens.numpy())
        np.testing.assert_array_equal(stages["logits"].numpy(), model(x).numpy())
        features = model.forward_head(tokens, pre_logits=True).numpy()
        np.testing.assert_array_equal(features, ((tokens[:, 0] + tokens[:, 1]) / 2).numpy())
        cls, dist = model.forward_heads(tokens)
        np.testing.assert_array_equal(cls.numpy(), model.head(tokens[:, 0]).numpy())
        np.testing.assert_array_equal(dist.numpy(), model.head_dist(tokens[:, 1]).numpy())

    def test_tokens_in_order_class_distillation_patches(self):
        model = distilled()
        embedded = model.patch_embed(images())
        got = (model.add_tokens(embedded) - model.pos_embed).numpy()
        np.testing.assert_allclose(got[:, 0], np.repeat(model.cls_token.numpy()[0], 2, 0), atol=1e-6)
        np.testing.assert_allclose(got[:, 1], np.repeat(model.dist_token.numpy()[0], 2, 0), atol=1e-6)
        np.testing.assert_allclose(got[:, 2:], embedded.numpy(), atol=1e-6)

    def test_every_parameter_receives_a_gradient(self):
        model = distilled()
        model.train()
        first, second = model(images())
        (first.square().mean() + second.square().mean()).backward()
        idle = [n for n, p in model.named_parameters() if p.grad is None or not float(p.grad.abs().max())]
        assert not idle

    def test_each_head_reads_its_own_token(self):
        model = distilled()
        model.train()
        first, _ = model(images())
        first.sum().backward()
        assert model.head_dist.weight.grad is None or not model.head_dist.weight.grad.numpy().any()
        assert model.head.weight.grad.numpy().any()

    @pytest.mark.parametrize(
        "options", [dict(eval_head="both"), dict(pool="gap"), dict(representation_size=8)], ids=lambda o: next(iter(o))
    )
    def test_what_it_cannot_be(self, options):
        with pytest.raises(ConfigError, match=r"eval_head is 'both', but must be|leave pool"):
            distilled(**options)

    def test_new_classifier_replaces_both_heads(self):
        model = distilled()
        model.reset_classifier(3)
        model.train()
        assert [o.shape for o in model(images())] == [[2, 3], [2, 3]]
        model.reset_classifier(0)
        model.eval()
        assert model(images()).shape == [2, 24]

    def test_attention_maps_include_both_tokens(self):
        model = distilled()
        model.eval()
        maps = model.attention_maps(images())
        assert [m.shape for m in maps] == [[2, 3, 6, 6]] * 3

    def test_saved_static_model_equals_eager(self, tmp_path):
        model = distilled()
        model.eval()
        want = model(images(3)).numpy()
        spec = [paddle.static.InputSpec([None, 3, 16, 16], "float32", "image")]
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(tmp_path / "net"))
        loaded = paddle.jit.load(str(tmp_path / "net"))
        loaded.eval()
        np.testing.assert_allclose(loaded(images(3)).numpy(), want, rtol=1e-4, atol=1e-5)


class TestDeiT3:
    def test_positions_are_added_before_the_class_token(self):
        paddle.seed(0)
        model = ppdeit.DeiT3(**TINY)
        assert model.pos_embed.shape == [1, 4, 24]
        embedded = model.patch_embed(images())
        got = model.add_tokens(embedded)
        np.testing.assert_array_equal(got[:, 0].numpy(), np.repeat(model.cls_token.numpy()[0], 2, 0))
        np.testing.assert_array_equal(got[:, 1:].numpy(), (embedded + model.pos_embed).numpy())

    def test_layer_scale_starts_at_the_papers_value(self):
        small = {k: v for k, v in TINY.items() if k != "embed_dim" and k != "num_heads"}
        model = ppdeit.deit3_small_patch16_224(**small, embed_dim=24, num_heads=3)
        gammas = [p.numpy() for n, p in model.named_parameters() if n.endswith("gamma")]
        assert len(gammas) == 6
        assert all((g == np.float32(1e-4)).all() for g in gammas)


class TestInitialValues:
    @pytest.mark.parametrize("builder", [ppdeit.DeiT, ppdeit.DistilledVisionTransformer, ppdeit.DeiT3])
    def test_tokens_are_truncated_normal(self, builder):
        paddle.seed(3)
        model = builder(**(TINY | dict(embed_dim=768, num_heads=12, depth=1, img_size=64)))
        tokens = [model.cls_token, model.pos_embed, *([model.dist_token] if hasattr(model, "dist_token") else [])]
        for token in tokens:
            values = token.numpy().ravel()
            assert abs(values.mean()) < 6 * 0.02 / len(values) ** 0.5
            # standard error of a standard deviation: s / sqrt(2 n); six of them
            assert abs(values.std() - 0.02) < 6 * 0.02 / (2 * len(values)) ** 0.5

    def test_jax_initialisation_zeroes_both_heads(self):
        model = distilled(init="jax")
        for head in (model.head, model.head_dist):
            assert not head.weight.numpy().any()
        assert model.dist_token.numpy().any()


class TestTokenCosine:
    def test_of_hand_made_tokens(self):
        model = distilled()
        model.eval()
        got = ppdeit.token_cosine(model, images(4))
        assert len(got) == 4
        tokens = model.forward_intermediates(images(4))["pos_embed"].numpy()
        a, b = tokens[:, 0], tokens[:, 1]
        want = ((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).mean()
        np.testing.assert_allclose(got[0], want, rtol=1e-5)

    def test_equal_tokens_stay_equal(self):
        model = distilled()
        model.eval()
        model.dist_token.set_value(model.cls_token)
        pos = model.pos_embed.numpy()
        pos[:, 1] = pos[:, 0]
        model.pos_embed.set_value(pos)
        np.testing.assert_allclose(ppdeit.token_cosine(model, images()), 1.0, atol=1e-5)

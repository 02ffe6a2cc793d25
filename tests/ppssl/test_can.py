"""CAN: what is pooled and told, what each term is of, that all of it learns, and the mistakes of others."""

import logging
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import test_mae

import ppssl
from ppcore import weights
from ppcore.errors import ConfigError, WeightsError
from ppcore.layers import patchify
from ppcore.model import parameter_count
from ppssl.can import noise_waves


def network(**changes) -> ppssl.ContrastiveMaskedAutoencoder:
    paddle.seed(1)
    model = ppssl.ContrastiveMaskedAutoencoder(**{**test_mae.SIZE, **test_mae.DECODER, "noise_dim": 8, **changes})
    rng = np.random.default_rng(0)
    for p in model.parameters():
        if not p.stop_gradient:
            p.set_value((p.numpy() + 0.2 * rng.standard_normal(p.shape)).astype("float32"))
    return model


class Run:
    """What the task asks of a run; it keeps what the network is given."""

    def __init__(self, model, accumulate=1):
        self.model, self.config = model, SimpleNamespace(accumulate=accumulate)
        self.world, self.given = SimpleNamespace(rank=0, size=1), []

    def forward(self, network, *inputs):
        self.given.append(inputs)
        return network(*inputs)

    def rng(self, step, shared):
        return np.random.default_rng((3, step))


def batch(count=3):
    return {"view": paddle.to_tensor(test_mae.images(count, 2, 3, 16, 16))}


class TestNetwork:
    def test_noise_levels_are_sines_then_cosines(self):
        sigma = np.array([0.0, 0.03], np.float32)
        frequencies = np.array([1, 10000 ** (-1 / 3), 10000 ** (-2 / 3), 1e-4])
        want = np.concatenate([np.sin(np.outer(sigma, frequencies)), np.cos(np.outer(sigma, frequencies))], 1)
        np.testing.assert_allclose(noise_waves(paddle.to_tensor(sigma), 8), want, atol=1e-7)

    @pytest.mark.parametrize("class_token", [False, True])
    def test_visible_patches_are_pooled_and_told(self, class_token):
        model = network(class_token=class_token)
        seen = []
        model.decoder_embed.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].numpy()))
        mask = test_mae.mask_of(ratio=0.5)
        x, sigma = paddle.to_tensor(test_mae.images()), paddle.to_tensor(np.array([0.0, 0.5, 1.0], np.float32))
        _, projected = model.contrast_and_reconstruct(x, sigma, mask.keep, mask.restore)
        latent = model.encode(x, mask.keep)
        told = seen[0] - latent.numpy()
        level = model.noise_level(sigma).numpy()
        np.testing.assert_allclose(told[:, 1:], np.repeat(level[:, None], 8, 1), atol=1e-5)
        np.testing.assert_allclose(told[:, 0], level if class_token else 0 * level, atol=1e-5)
        pooled = latent[:, 0 if class_token else 1 :].mean(1)
        np.testing.assert_allclose(projected, model.projection_head(pooled), atol=1e-5)

    def test_without_noise_and_its_level_it_is_the_masked_autoencoder(self):
        model, plain = network(), test_mae.network()
        plain.set_state_dict({n: p for n, p in model.state_dict().items() if n in plain.state_dict()})
        for p in model.noise_pe_mlp.parameters():
            p.set_value(paddle.zeros_like(p))
        x, mask = paddle.to_tensor(test_mae.images()), test_mae.mask_of(ratio=0.5)
        predicted, _ = model.contrast_and_reconstruct(x, paddle.zeros([3]), mask.keep, mask.restore)
        np.testing.assert_allclose(predicted, plain.reconstruct(x, mask.keep, mask.restore), atol=1e-5)
        np.testing.assert_array_equal(predicted, model.reconstruct(x, mask.keep, mask.restore))

    @pytest.mark.parametrize(("size", "count", "dim"), [("base", 113_034_368, 768), ("large", 331_601_792, 1024)])
    def test_sizes_of_the_released_code(self, size, count, dim):
        with paddle.LazyGuard():
            model = vars(ppssl)[f"can_vit_{size}_patch16"]()
        assert sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient) == count
        assert parameter_count(model.projection_head) == dim * dim + dim + dim * 128 + 128
        assert parameter_count(model.noise_pe_mlp) == dim * 128 + dim + dim * dim + dim

    def test_the_encoder_is_handed_on(self, tmp_path):
        source = network()
        weights.save(source, tmp_path / "can.safetensors", layout="can")
        model = ppssl.FineTunedViT(**test_mae.SIZE, num_classes=5)
        notes = weights.load(model, tmp_path / "can.safetensors", "can", new_head=True)
        assert {note.partition(":")[0] for note in notes} == {"head", "fc_norm"}
        np.testing.assert_array_equal(model.blocks[1].attn.qkv.weight, source.blocks[1].attn.qkv.weight)
        arrays = weights.export(source, layout="can")
        with pytest.raises(WeightsError, match=r"unexpected .*noise_pe_mlp\.0\.weight"):
            weights.convert(arrays, source="mae", model=model, new_head=True)
        again = network()
        again.set_state_dict(weights.convert(arrays, source="can", model=again))
        np.testing.assert_array_equal(again.projection_head[2].weight, source.projection_head[2].weight)


class TestTask:
    def test_views_are_noisy_by_their_level_and_the_batch_stays(self):
        run, given = Run(network()), batch()
        before = given["view"].numpy().copy()
        task = ppssl.CAN(run=run, sigma_max=0.5)
        [(_, loss, logs)] = list(task.losses(given, 4))
        np.testing.assert_array_equal(given["view"], before)
        noisy, sigma, keep, _ = run.given[0]
        assert keep.shape == [6, 8]
        clean = np.concatenate([before[:, 0], before[:, 1]])
        levels = (noisy.numpy() - clean).reshape(6, -1).std(1)
        np.testing.assert_allclose(levels, sigma, rtol=0.1)
        assert 0 <= sigma.numpy().min() < sigma.numpy().max() < 0.5
        parts = [float(logs[name]) for name in ("contrast", "reconstruction", "noise")]
        assert float(loss) == pytest.approx(0.03 * parts[0] + 0.67 * parts[1] + 0.30 * parts[2], rel=1e-6)
        assert 0 < float(logs["spread"]) < 1.5
        again = Run(network())
        list(ppssl.CAN(run=again, sigma_max=0.5).losses(given, 4))
        np.testing.assert_array_equal(again.given[0][1], sigma)  # the step's own, after a restart

    def terms(self, model, **options):
        task = ppssl.CAN(run=Run(model), **options)
        clean = paddle.to_tensor(test_mae.images(4, 3, 16, 16))
        sigma = paddle.to_tensor(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
        noise = sigma.reshape([4, 1, 1, 1]) * paddle.to_tensor(test_mae.images(4, 3, 16, 16, seed=9))
        mask = test_mae.mask_of(4, ratio=0.5)
        return task.terms(clean, noise, sigma, mask), (clean, noise, sigma, mask)

    def test_terms_by_hand(self):
        model = network()
        found, (clean, noise, sigma, mask) = self.terms(model)
        predicted, projected = model.contrast_and_reconstruct(clean + noise, sigma, mask.keep, mask.restore)
        z = projected.numpy().astype(float)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        similar = z @ z.T / 0.1
        np.fill_diagonal(similar, -np.inf)
        logs = similar - np.log(np.exp(similar).sum(1, keepdims=True))
        assert float(found["contrast"]) == pytest.approx(-np.mean([logs[i, (i + 2) % 4] for i in range(4)]), rel=1e-5)
        removed = mask.removed.numpy() > 0
        errors = {
            name: ((predicted - patchify(target, 4)).numpy() ** 2).mean(-1)
            for name, target in (("clean", clean), ("noisy", clean + noise), ("noise", noise))
        }
        assert float(found["reconstruction"]) == pytest.approx(errors["clean"][removed].mean(), rel=1e-5)
        assert float(found["noise"]) == pytest.approx(errors["noise"][~removed].mean(), rel=1e-5)
        wrong, _ = self.terms(model, noisy_target=True)
        assert float(wrong["reconstruction"]) == pytest.approx(errors["noisy"][removed].mean(), rel=1e-5)

    def test_everything_learns(self):
        """A third party gives its optimiser the encoder and decoder alone: projection and noise level never move."""
        model = network()
        [(name, loss, _)] = list(ppssl.CAN(run=Run(model), sigma_max=1.0).losses(batch(), 0))
        assert name == "model"
        loss.backward()
        idle = {n for n, p in model.named_parameters() if p.grad is None or not np.abs(p.grad.numpy()).max() > 0}
        assert idle == {"pos_embed", "decoder_pos_embed"}

    @pytest.mark.parametrize("nothing", range(3))
    def test_a_weight_of_nothing_is_no_error_and_said(self, nothing, caplog):
        """The released code raises when it does not predict noise."""
        model, weights = network(), [0.03, 0.67, 0.3]
        weights[nothing] = 0.0
        name = ("contrast", "reconstruction", "noise")[nothing]
        with caplog.at_level(logging.INFO):
            task = ppssl.CAN(run=Run(model), weights=weights)
        assert [record.message for record in caplog.records] == [
            f"ppssl.CAN: the loss '{name}' has weight 0: it is logged, but nothing learns from it"
        ]
        [(_, loss, logs)] = list(task.losses(batch(), 0))
        parts = [float(logs[part]) for part in ("contrast", "reconstruction", "noise")]
        assert parts[nothing] > 0
        assert float(loss) == pytest.approx(np.dot(weights, parts), rel=1e-6)
        loss.backward()
        projection = model.projection_head[0].weight.grad
        moved = projection is not None and float(projection.abs().max()) > 0
        assert moved == (name != "contrast")

    def test_what_does_not_fit_is_named(self):
        model = network()
        with pytest.raises(ConfigError, match=r"set Optimizer\.accumulate to 1"):
            ppssl.CAN(run=Run(model, accumulate=2))
        with pytest.raises(ConfigError, match="no views called view"):
            next(ppssl.CAN(run=Run(model)).losses({"image": batch()["view"]}, 0))
        with pytest.raises(ConfigError, match="two views of each image are wanted, not the 1"):
            next(ppssl.CAN(run=Run(model)).losses({"view": batch()["view"][:, :1]}, 0))
        with pytest.raises(ConfigError, match=r"trains a ppssl\.ContrastiveMaskedAutoencoder"):
            ppssl.CAN(run=Run(test_mae.network()))
        with pytest.raises(ConfigError, match="weights is"):
            ppssl.CAN(run=Run(model), weights=[1.0, 1.0])
        with pytest.raises(ConfigError, match="not all of them 0"):
            ppssl.CAN(run=Run(model), weights=[0.0, 0.0, 0.0])
        with pytest.raises(ConfigError, match="noise_dim is 7, but must be an even number"):
            network(noise_dim=7)

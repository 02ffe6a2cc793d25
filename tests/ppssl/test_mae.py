"""MAE: what the encoder sees, how patches are put back, what is predicted, how it begins, and its weights on the way."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

import ppssl
from ppcore import weights
from ppcore.engine.recompute import recompute_blocks
from ppcore.errors import ConfigError, WeightsError
from ppcore.layers.sincos import sincos_positions
from ppcore.model import parameter_count
from ppssl.mae import normalized_patches
from ppssl.masking import StepNoise, count_kept, random_mask, take
from ppvit import VisionTransformer

SIZE = dict(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2)
DECODER = dict(decoder_embed_dim=12, decoder_depth=1, decoder_num_heads=2)


def network(**changes) -> ppssl.MaskedAutoencoder:
    """A small one whose every parameter says something."""
    paddle.seed(0)
    model = ppssl.MaskedAutoencoder(**{**SIZE, **DECODER, **changes})
    rng = np.random.default_rng(0)
    for p in model.parameters():
        if not p.stop_gradient:
            p.set_value((p.numpy() + 0.2 * rng.standard_normal(p.shape)).astype("float32"))
    return model


def images(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape or (3, 3, 16, 16)).astype("float32")


def mask_of(batch=3, patches=16, ratio=0.75, seed=2):
    return random_mask(np.random.default_rng(seed).random((batch, patches)), ratio)


class TestMasks:
    def test_are_what_the_noise_orders(self):
        noise = np.array([[0.7, 0.1, 0.9, 0.3], [0.2, 0.8, 0.4, 0.6]])
        mask = random_mask(noise, 0.5)
        np.testing.assert_array_equal(mask.keep, [[1, 3], [0, 2]])
        np.testing.assert_array_equal(mask.removed, [[1, 0, 1, 0], [0, 1, 0, 1]])
        np.testing.assert_array_equal(np.take_along_axis(np.sort(noise), mask.restore.numpy(), 1), noise)

    @pytest.mark.parametrize(
        ("patches", "ratio", "kept"), [(196, 0.75, 49), (100, 0.9, 9), (256, 0.75, 64), (16, 0.5, 8)]
    )
    def test_keep_a_count_cut_as_the_papers_codes_cut_it(self, patches, ratio, kept):
        assert count_kept(patches, ratio) == kept
        mask = random_mask(np.random.default_rng(0).random((2, patches)), ratio)
        assert mask.keep.shape == [2, kept]
        assert mask.removed.sum(1).tolist() == [patches - kept] * 2

    def test_take_is_a_gather_of_each_image(self):
        tokens, mask = paddle.to_tensor(images(3, 16, 5), stop_gradient=False), mask_of()
        taken = take(tokens, mask.keep)
        want = np.take_along_axis(tokens.numpy(), mask.keep.numpy()[..., None], 1)
        np.testing.assert_array_equal(taken, want)
        (taken**2).sum().backward()
        np.testing.assert_array_equal(tokens.grad, 2 * tokens.numpy() * (1 - mask.removed.numpy()[..., None]))


class FakeRun:
    """A run of some processes, and the random numbers of its steps."""

    def __init__(self, rank=0, size=1):
        self.world = SimpleNamespace(rank=rank, size=size)

    def rng(self, step, shared):
        assert shared
        return np.random.default_rng((0, step))


class TestNoise:
    def test_of_an_image_does_not_depend_on_the_number_of_processes(self):
        one = StepNoise(FakeRun()).uniform(5, 4, 3)
        for rank in (0, 1):
            np.testing.assert_array_equal(StepNoise(FakeRun(rank, 2)).uniform(5, 2, 3), one[rank::2])

    def test_of_micro_batches_and_steps_differs_and_repeats(self):
        first = StepNoise(FakeRun())
        drawn = [first.uniform(step, 2, 3) for step in (0, 0, 1)]
        assert len({array.tobytes() for array in drawn}) == 3
        again = StepNoise(FakeRun())  # a resumed run
        np.testing.assert_array_equal(again.uniform(1, 2, 3), drawn[2])


class TestNetwork:
    def test_all_patches_in_order_are_the_plain_transformer(self):
        model, x = network(), paddle.to_tensor(images())
        everything = paddle.arange(16).expand([3, 16])
        plain = VisionTransformer(**SIZE, num_classes=0)
        plain.set_state_dict({n: p for n, p in model.state_dict().items() if n in plain.state_dict()})
        np.testing.assert_allclose(model.encode(x, everything), plain.forward_features(x), atol=2e-6)
        np.testing.assert_allclose(model(x), plain(x), atol=2e-6)
        mean = network(pool="gap")(x)
        np.testing.assert_allclose(mean, plain.forward_features(x)[:, 1:].mean(1), atol=2e-6)

    def test_removed_pixels_reach_no_latent(self):
        model, mask = network(), mask_of()
        x = images()
        other = x.copy()
        removed = mask.removed.numpy().reshape(3, 1, 4, 4).repeat(4, 2).repeat(4, 3).astype(bool)
        other[np.broadcast_to(removed, x.shape)] = 9.0
        assert (other != x).mean() > 0.7
        latents = [model.encode(paddle.to_tensor(one), mask.keep).numpy() for one in (x, other)]
        np.testing.assert_array_equal(*latents)
        other[~np.broadcast_to(removed, x.shape)] += 0.1
        assert np.abs(model.encode(paddle.to_tensor(other), mask.keep).numpy() - latents[0]).max() > 1e-3

    def test_the_order_of_the_kept_patches_does_not_matter(self):
        """Each comes back to its own place: another noise that keeps the same patches predicts the same."""
        model, x = network(), paddle.to_tensor(images())
        mask = mask_of()
        rng, noise = np.random.default_rng(3), np.zeros((3, 16))
        for row, removed in zip(noise, mask.removed.numpy() > 0, strict=True):
            row[~removed], row[removed] = rng.random(4), 1 + rng.random(12)
        other = random_mask(noise, 0.75)
        assert (other.keep != mask.keep).any()
        predictions = [model.reconstruct(x, m.keep, m.restore).numpy() for m in (mask, other)]
        np.testing.assert_allclose(*predictions, atol=5e-6)
        elsewhere = mask_of(seed=4)
        assert np.abs(model.reconstruct(x, elsewhere.keep, elsewhere.restore).numpy() - predictions[0]).max() > 0.1

    def test_the_decoder_sees_mask_tokens_where_patches_are_removed(self):
        """Against its formula, by a decoder without blocks in effect: every block's two projections are zero."""
        model, x, mask = network(), paddle.to_tensor(images()), mask_of()
        block = model.decoder_blocks[0]
        for layer in (block.attn.proj, block.mlp.fc2):
            for p in layer.parameters():
                p.set_value(paddle.zeros_like(p))
        latent = model.encode(x, mask.keep)
        tokens = model.decoder_embed(latent).numpy()
        full = np.tile(model.mask_token.numpy(), (3, 16, 1))
        for image, keep in enumerate(mask.keep.numpy()):
            full[image, keep] = tokens[image, 1:]
        full += sincos_positions(12, (4, 4))[:, 1:].astype("float32")
        want = model.decoder_pred(model.decoder_norm(paddle.to_tensor(full)))
        np.testing.assert_allclose(model.decode(latent, mask.restore), want, atol=1e-5)

    def test_positions_are_stored_and_not_trained(self):
        model = network()
        table = sincos_positions(16, (4, 4))
        np.testing.assert_allclose(model.pos_embed, table, atol=1e-6)
        assert not model.pos_embed.numpy()[:, 0].any()
        fixed = {name for name, p in model.named_parameters() if p.stop_gradient}
        assert fixed == {"pos_embed", "decoder_pos_embed"} <= model.state_dict().keys()

    def test_a_rectangle_and_its_columns_first(self):
        table = sincos_positions(8, (2, 3), num_prefix_tokens=0)[0]
        angles = np.array([1.0, 10000**-0.5])
        for row in range(2):
            for column in range(3):
                want = np.concatenate([f(place * angles) for place in (column, row) for f in (np.sin, np.cos)])
                np.testing.assert_allclose(table[3 * row + column], want, atol=1e-15)


class TestLoss:
    def test_is_of_the_removed_patches_alone(self):
        model, x, mask = network(), images(), mask_of()
        predicted = paddle.to_tensor(images(3, 16, 48, seed=5), stop_gradient=False)
        loss = model.loss(predicted, paddle.to_tensor(x), mask.removed)
        total, count = 0.0, 0
        for image in range(3):
            for patch in range(16):
                if mask.removed.numpy()[image, patch]:
                    row, column = divmod(patch, 4)
                    pixels = x[image, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].transpose(1, 2, 0).ravel()
                    total += ((predicted.numpy()[image, patch].astype(float) - pixels) ** 2).mean()
                    count += 1
        assert count == 36
        assert float(loss) == pytest.approx(total / count, rel=1e-6)
        loss.backward()
        np.testing.assert_array_equal(np.abs(predicted.grad.numpy()).max(-1) > 0, mask.removed.numpy() > 0)

    def test_norm_pix_takes_out_each_patchs_own_mean_and_unbiased_deviation(self):
        patches = images(2, 4, 12)
        wide = patches.astype(float)
        want = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, ddof=1, keepdims=True) + 1e-6)
        np.testing.assert_allclose(normalized_patches(paddle.to_tensor(patches)), want, atol=1e-6)
        flat = normalized_patches(paddle.full([1, 1, 12], 0.5))
        assert np.isfinite(flat.numpy()).all()
        x = paddle.to_tensor(images())
        model = network(norm_pix_loss=True)
        np.testing.assert_array_equal(model.target(x), normalized_patches(network().target(x)))


class TestBeginning:
    def test_matrices_are_xavier_uniform_q_k_and_v_as_one(self):
        model = ppssl.MaskedAutoencoder(**{**SIZE, **DECODER, "embed_dim": 64, "decoder_embed_dim": 48})
        bounds = {
            "blocks.0.attn.qkv.weight": 6 / (4 * 64),
            "blocks.1.mlp.fc1.weight": 6 / (5 * 64),
            "patch_embed.proj.weight": 6 / (64 + 48),
            "decoder_embed.weight": 6 / (64 + 48),
            "decoder_blocks.0.attn.qkv.weight": 6 / (4 * 48),
            "decoder_pred.weight": 6 / (48 + 48),
            "patch_embed.proj.bias": 1 / 48,  # a convolution's default
        }
        values = {name: p.numpy() for name, p in model.named_parameters()}
        for name, square in bounds.items():
            largest = np.abs(values[name]).max()
            assert 0.85 * square**0.5 < largest <= square**0.5, name
        for name, array in values.items():
            if name.endswith(".bias") and name != "patch_embed.proj.bias":
                assert not array.any(), name
        for name in ("cls_token", "mask_token"):
            assert values[name].std() == pytest.approx(0.02, rel=0.35)

    @pytest.mark.parametrize(
        ("name", "trained", "stored", "tensors"),
        [
            ("base_patch16", 111_655_680, 111_907_840, 254),
            ("large_patch16", 329_239_296, 329_541_888, 398),
            ("huge_patch14", 656_613_964, 657_074_508, 494),
        ],
    )
    def test_published_sizes(self, name, trained, stored, tensors):
        with paddle.LazyGuard():
            model = vars(ppssl)[f"mae_vit_{name}"]()
        assert parameter_count(model) == stored
        assert sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient) == trained
        assert len(model.state_dict()) == tensors

    def test_what_is_out_of_range_is_named(self):
        with pytest.raises(ConfigError, match="multiple of 4 channels, not 18"):
            ppssl.MaskedAutoencoder(**{**SIZE, **DECODER, "decoder_embed_dim": 18})
        with pytest.raises(ConfigError, match="decoder_depth is 0"):
            ppssl.MaskedAutoencoder(**{**SIZE, **DECODER, "decoder_depth": 0})


class TestLayout:
    def test_official_names_both_ways(self, tmp_path):
        model, x, mask = network(), paddle.to_tensor(images()), mask_of()
        theirs = weights.export(model, layout="mae")
        assert theirs.keys() == model.state_dict().keys(), "the names are the official ones"
        np.testing.assert_array_equal(theirs["decoder_pred.weight"], model.decoder_pred.weight.numpy().T)
        np.testing.assert_array_equal(theirs["blocks.1.attn.qkv.weight"], model.blocks[1].attn.qkv.weight.numpy().T)
        weights.save(model, tmp_path / "mae.safetensors", layout="mae")
        other = ppssl.MaskedAutoencoder(**SIZE, **DECODER)
        weights.load(other, tmp_path / "mae.safetensors", source="mae")
        np.testing.assert_array_equal(*(m.reconstruct(x, mask.keep, mask.restore).numpy() for m in (model, other)))

    def test_the_encoder_alone_is_no_autoencoder(self):
        arrays = {n: a for n, a in weights.export(network(), layout="mae").items() if not n.startswith("decoder_")}
        with pytest.raises(WeightsError, match=r"missing .*decoder_embed\.weight"):
            weights.convert(arrays, source="mae", model=network())


def test_recomputed_blocks_are_the_encoders_and_the_decoders():
    """The same loss and gradients, every block run twice."""
    mask, x, found = mask_of(), paddle.to_tensor(images()), []
    for recompute in (False, True):
        model = network()
        model.train()
        if recompute:
            assert recompute_blocks(model) == SIZE["depth"] + DECODER["decoder_depth"]
        runs = []
        block = model.decoder_blocks[0].norm1
        block.register_forward_post_hook(lambda layer, inputs, output, runs=runs: runs.append(layer))
        loss = model.loss(model.reconstruct(x, mask.keep, mask.restore), x, mask.removed)
        loss.backward()
        assert len(runs) == 1 + recompute
        found.append([loss.numpy(), *(p.grad.numpy() for p in model.parameters() if not p.stop_gradient)])
    for plain, again in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, again)

"""Jigsaw-ViT: a DeiT that also places patches, which do not say where they are."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import test_mae

import ppssl
from ppcore import weights
from ppcore.errors import ConfigError, WeightsError
from ppcore.losses import CrossEntropy
from ppcore.model import parameter_count
from ppdeit.deit import DeiT
from ppssl.jigsaw_task import placing
from ppssl.masking import random_mask

SIZE = {**test_mae.SIZE, "num_classes": 5}


def network(**changes) -> ppssl.JigsawVisionTransformer:
    paddle.seed(2)
    model = ppssl.JigsawVisionTransformer(**{**SIZE, **changes})
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.set_value((p.numpy() + 0.2 * rng.standard_normal(p.shape)).astype("float32"))
    return model


class TestNetwork:
    def test_called_it_is_the_deit(self):
        model, plain = network(), DeiT(**SIZE)
        plain.set_state_dict({n: p for n, p in model.state_dict().items() if n in plain.state_dict()})
        x, keep = paddle.to_tensor(test_mae.images()), test_mae.mask_of(ratio=0.5).keep
        np.testing.assert_array_equal(model(x), plain(x))
        np.testing.assert_array_equal(model.classify_and_place(x, keep)[0], plain(x))

    def test_patches_do_not_say_where_they_are(self):
        """In another order they have the same answers in that order, and the positions' table changes none."""
        model, x = network(), paddle.to_tensor(test_mae.images())
        keep = test_mae.mask_of(ratio=0.5).keep
        order = np.random.default_rng(5).permutation(8)
        logits, places = model.classify_and_place(x, keep)
        assert places.shape == [3, 8, 16]
        shuffled = model.classify_and_place(x, paddle.to_tensor(keep.numpy()[:, order]))[1]
        np.testing.assert_allclose(shuffled, places.numpy()[:, order], atol=1e-5)
        model.pos_embed.set_value(model.pos_embed * 3)
        moved = model.classify_and_place(x, keep)
        np.testing.assert_array_equal(moved[1], places)
        assert np.abs((moved[0] - logits).numpy()).max() > 1e-3

    def test_the_puzzle_teaches_no_positions(self):
        model, keep = network(), test_mae.mask_of(ratio=0.5).keep
        puzzle, _ = placing(model.classify_and_place(paddle.to_tensor(test_mae.images()), keep)[1], keep)
        puzzle.backward()
        untaught = {name for name, p in model.named_parameters() if p.grad is None}
        assert untaught == {"pos_embed", "head.weight", "head.bias"}

    @pytest.mark.parametrize(
        ("name", "count", "head"),
        [("tiny", 5_829_356, 111_940), ("small", 22_421_804, 371_140), ("base", 87_899_564, 1_331_908)],
    )
    def test_published_sizes(self, name, count, head):
        with paddle.LazyGuard():
            model = vars(ppssl)[f"jigsaw_{name}_patch16_224"]()
        assert parameter_count(model) == count
        assert parameter_count(model.jigsaw) == head
        assert len(model.state_dict()) == 158

    def test_the_deit_in_it_is_handed_on_with_its_head(self, tmp_path):
        source, model = network(), DeiT(**SIZE)
        weights.save(source, tmp_path / "jigsaw.safetensors", layout="jigsaw")
        assert weights.load(model, tmp_path / "jigsaw.safetensors", "jigsaw") == []
        x = paddle.to_tensor(test_mae.images())
        np.testing.assert_array_equal(model(x), source(x))
        again = network()
        weights.load(again, tmp_path / "jigsaw.safetensors", "jigsaw")
        np.testing.assert_array_equal(again.jigsaw[4].weight, source.jigsaw[4].weight)
        arrays = weights.export(source, layout="jigsaw")
        with pytest.raises(WeightsError, match=r"unexpected jigsaw\.6\.weight"):
            weights.convert({**arrays, "jigsaw.6.weight": np.zeros(3)}, source="jigsaw", model=model)
        with pytest.raises(WeightsError, match=r"unexpected .*jigsaw\.0\.weight"):
            weights.convert(arrays, source="timm", model=model)


class Run:
    def __init__(self, model):
        self.model, self.world = model, SimpleNamespace(rank=0, size=1)

    def criterion(self):
        return CrossEntropy()

    def forward(self, network, *inputs):
        return network(*inputs)

    def rng(self, step, shared):
        return np.random.default_rng((7, step))


class TestTask:
    @pytest.mark.parametrize("mixed", [False, True])
    def test_the_loss_is_both(self, mixed):
        model, x = network(), paddle.to_tensor(test_mae.images())
        batch = {"image": x, "label": paddle.to_tensor([0, 3, 4])}
        if mixed:
            target = np.random.default_rng(0).random((3, 5)).astype("float32")
            batch["target"] = paddle.to_tensor(target / target.sum(1, keepdims=True))
        [(name, loss, logs)] = list(ppssl.JigsawViT(run=Run(model), weight=0.3, mask_ratio=0.25).losses(batch, 1))
        keep = random_mask(np.random.default_rng((7, 1)).random((3, 16)), 0.25).keep
        logits, places = model.classify_and_place(x, keep)
        wide = places.numpy().astype(float).reshape(36, 16)
        log_p = wide - np.log(np.exp(wide).sum(1, keepdims=True))
        puzzle = -log_p[np.arange(36), keep.numpy().ravel()].mean()
        assert name == "model"
        assert float(logs["puzzle_loss"]) == pytest.approx(puzzle, rel=1e-5)
        assert float(logs["placed"]) == pytest.approx((wide.argmax(1) == keep.numpy().ravel()).mean())
        classes = float(CrossEntropy()(logits, batch))
        assert float(logs["class_loss"]) == pytest.approx(classes, rel=1e-6)
        assert float(loss) == pytest.approx(classes + 0.3 * puzzle, rel=1e-5)

    def test_what_does_not_fit_is_named(self):
        with pytest.raises(ConfigError, match=r"ppssl\.JigsawViT trains a ppssl\.JigsawVisionTransformer, not DeiT"):
            ppssl.JigsawViT(run=Run(DeiT(**SIZE)))
        with pytest.raises(ConfigError, match="some of the 16 patches are kept"):
            ppssl.JigsawViT(run=Run(network()), mask_ratio=0.95)
        with pytest.raises(ConfigError, match=r"weight is -0\.1"):
            ppssl.JigsawViT(run=Run(network()), weight=-0.1)

"""DINO's pieces: counts, sizes of images, crops in groups, the loss written out, layouts, temperatures, what trains."""

import numpy as np
import paddle
import pytest
from ssl_configs import ALLOW, written

import ppcore.weights
import ppssl
from ppcore.errors import ConfigError, WeightsError
from ppcore.layers.pos_embed import interpolate
from ppcore.model import parameter_count
from ppcore.weights.files import save_arrays
from ppssl.dino_loss import entropy
from ppssl.dino_vit import linear_features, resampled_positions
from ppvit import VisionTransformer

SIZE = dict(img_size=16, patch_size=4, embed_dim=8, depth=2, num_heads=2)


def backbone(**options):
    paddle.seed(0)
    return ppssl.DINOVisionTransformer(**(SIZE | options))


def network(**options):
    return ppssl.DINONetwork(backbone(), ppssl.DINOHead(8, 10, hidden_dim=6, bottleneck_dim=4, **options))


BACKBONES = {
    "dino_vit_tiny_patch16": (5_524_416, 27_417_792),
    "dino_vit_small_patch16": (21_665_664, 43_952_256),
    "dino_vit_small_patch8": (21_670_272, 43_956_864),
    "dino_vit_base_patch16": (85_798_656, 108_871_680),
    "dino_vit_base_patch8": (85_807_872, 108_880_896),
}


class TestCounts:
    @pytest.mark.parametrize("name", BACKBONES)
    def test_published(self, name):
        """Of the backbone, and of what the student trains; a trained g adds 65,536."""
        alone, student = BACKBONES[name]
        with paddle.LazyGuard():
            net = getattr(ppssl, name)()
            assert parameter_count(net) == alone
            heads = [ppssl.DINOHead(net.embed_dim, train_last_norm=free) for free in (False, True)]
        assert len(net.state_dict()) == 150
        assert len(heads[0].state_dict()) == 8
        trained = [sum(p.size for p in head.parameters() if not p.stop_gradient) for head in heads]
        assert alone + trained[0] == student
        assert trained[1] - trained[0] == 65_536


class TestSizes:
    def test_the_trained_size_is_a_plain_vit(self):
        net, plain = backbone(), VisionTransformer(**SIZE, num_classes=0)
        plain.set_state_dict(net.state_dict())
        x = paddle.randn([2, 3, 16, 16])
        np.testing.assert_array_equal(net(x).numpy(), plain(x).numpy())

    @pytest.mark.parametrize("size", [(8, 8), (24, 24), (12, 20), (8, 32)])
    def test_other_sizes_resample_by_the_factor(self, size):
        """(8, 32) has as many patches as the trained size, and is resampled all the same."""
        net = backbone()
        net.pos_embed.set_value(paddle.randn(net.pos_embed.shape))
        x = paddle.randn([2, 3, *size])
        grid = tuple(side // 4 for side in size)
        table = resampled_positions(net.pos_embed, (4, 4), grid)
        tokens = paddle.concat([net.cls_token.expand([2, -1, -1]), net.patch_embed(x)], axis=1) + table
        np.testing.assert_allclose(net.embed(x).numpy(), tokens.numpy(), rtol=1e-6, atol=1e-6)
        by_size = interpolate(net.pos_embed.numpy(), (4, 4), grid, mode="deit_bicubic")
        assert np.abs(table.numpy() - by_size).max() > 0.05
        np.testing.assert_array_equal(table[:, 0].numpy(), net.pos_embed[:, 0].numpy())

    def test_positions_learn_from_small_crops(self):
        net = backbone()
        net(paddle.randn([1, 3, 8, 8])).sum().backward()
        assert (net.pos_embed.grad.abs().sum(axis=-1) > 0).all()

    def test_no_whole_patches(self):
        with pytest.raises(ConfigError, match="images of 10x8 are no whole number of 4x4 patches"):
            backbone()(paddle.zeros([1, 3, 10, 8]))

    def test_no_classifier(self):
        with pytest.raises(ConfigError, match="has no classifier"):
            backbone(num_classes=10)

    def test_features_of_the_linear_evaluation(self):
        net = backbone()
        net.eval()
        x = paddle.randn([2, 3, 16, 16])
        tokens = net.last_tokens(x, 2)
        np.testing.assert_allclose(tokens[1].numpy(), net.forward_features(x).numpy(), rtol=1e-6)
        assert linear_features(tokens).shape == [2, 16]
        mixed = linear_features(tokens[1:], patch_mean=True).numpy()
        np.testing.assert_allclose(mixed[:, 0::2], tokens[1][:, 0].numpy(), rtol=1e-6)
        np.testing.assert_allclose(mixed[:, 1::2], tokens[1][:, 1:].mean(axis=1).numpy(), rtol=1e-5, atol=1e-7)


class TestCrops:
    def test_one_pass_a_size_and_the_order_kept(self):
        net = network()
        net.eval()
        crops = [paddle.randn([2, 3, side, side]) for side in (16, 16, 8, 8, 8)]
        passes = []
        net.backbone.register_forward_pre_hook(lambda layer, given: passes.append(given[0].shape))
        together = net(crops).numpy()
        assert passes == [[4, 3, 16, 16], [6, 3, 8, 8]]
        for number, crop in enumerate(crops):
            alone = net([crop]).numpy()
            np.testing.assert_allclose(together[2 * number : 2 * number + 2], alone, rtol=1e-4, atol=1e-6)

    def test_a_head_for_other_features(self):
        net = ppssl.DINONetwork(backbone(), ppssl.DINOHead(9, 10, hidden_dim=6, bottleneck_dim=4))
        with pytest.raises(ConfigError, match="gives 8 features, the head is made for 9"):
            net([paddle.zeros([1, 3, 16, 16])])


class TestLoss:
    def test_written_out(self):
        rng = np.random.default_rng(3)
        student, teacher, centre = (rng.standard_normal(shape) for shape in ((5, 4, 7), (2, 4, 7), (1, 7)))
        criterion = ppssl.DINOLoss(7, student_temperature=0.2)
        criterion.center.set_value(centre.astype(np.float32))

        def softmax(x):
            e = np.exp(x - x.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)

        q, p = softmax((teacher - centre) / 0.3), softmax(student / 0.2)
        pairs = [(q[g], p[v]) for g in range(2) for v in range(5) if v != g]
        want = np.mean([-(a * np.log(b)).sum(axis=-1).mean() for a, b in pairs])
        given = [paddle.to_tensor(x.reshape(-1, 7).astype(np.float32)) for x in (student, teacher)]
        targets = criterion.targets(given[1], 0.3)
        assert float(criterion(given[0], targets)) == pytest.approx(want, rel=1e-5)
        assert float(entropy(targets)) == pytest.approx(-(q * np.log(q)).sum(axis=-1).mean(), rel=1e-5)

    def test_no_gradient_into_the_teacher(self):
        criterion = ppssl.DINOLoss(7)
        teacher = paddle.randn([4, 7])
        teacher.stop_gradient = False
        assert criterion.targets(teacher, 0.1).stop_gradient

    def test_the_centre_is_an_average(self):
        criterion = ppssl.DINOLoss(3, center_momentum=0.75)
        for _ in range(2):
            criterion.update_center(paddle.to_tensor([[4.0, 0.0, -8.0]]))
        np.testing.assert_allclose(criterion.center.numpy(), [[1.75, 0, -3.5]])
        assert "center" in criterion.state_dict()

    def test_collapses_have_their_entropy(self):
        assert float(entropy(paddle.full([3, 8], 1 / 8))) == pytest.approx(np.log(8), rel=1e-6)
        assert float(entropy(paddle.eye(8))) == 0


class TestLayout:
    @pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"num_layers": 1}, {"train_last_norm": True}])
    def test_there_and_back(self, options):
        net = network(**options)
        theirs = ppcore.weights.export(net, layout="dino")
        assert theirs["head.last_layer.weight_v"].shape == (10, 4)
        assert theirs["head.last_layer.weight_g"].shape == (10, 1)
        assert ("head.mlp.1.running_mean" in theirs) == ("batch_norm" in options)
        back = ppcore.weights.convert(theirs, source="dino", model=net)
        for name, tensor in net.state_dict().items():
            np.testing.assert_array_equal(back[name], tensor.numpy())

    def test_students_teachers_and_backbones(self, tmp_path):
        """`module.` of the student and the heads are no part of a backbone; counters of batches are of none."""
        net = network(batch_norm=True)
        teacher = ppcore.weights.export(net, layout="dino") | {"head.mlp.1.num_batches_tracked": np.array(3)}
        student = {f"module.{name}": array for name, array in teacher.items()}
        plain = ppcore.weights.export(net.backbone, layout="dino")
        assert set(plain) == {n.removeprefix("backbone.") for n in teacher if n.startswith("backbone.")}
        for arrays in (teacher, student, plain):
            other = backbone()
            other.cls_token.set_value(paddle.ones_like(other.cls_token))
            state = ppcore.weights.convert(arrays, source="dino", model=other)
            for name, tensor in net.backbone.state_dict().items():
                np.testing.assert_array_equal(state[name], tensor.numpy())
        for arrays in (teacher, student):
            assert set(ppcore.weights.convert(arrays, source="dino", model=net)) == set(net.state_dict())
        with pytest.raises(WeightsError, match=r"missing .*head\.last_layer\.weight_v"):
            ppcore.weights.convert({f"backbone.{n}": a for n, a in plain.items()}, source="dino", model=net)

    def test_a_file_in_the_layout_says_so(self, tmp_path):
        file = tmp_path / "backbone.safetensors"
        ppcore.weights.save(backbone(), file, layout="dino")
        with pytest.raises(WeightsError, match="its layout is dino"):
            ppcore.weights.load(backbone(), file)
        assert ppcore.weights.load(backbone(), file, "dino") == []
        save_arrays(file, {"cls_token": np.zeros([1, 1, 8], np.float32)}, {"format": "pt"})
        with pytest.raises(WeightsError, match="missing"):
            ppcore.weights.load(backbone(), file, "dino")


class TestHead:
    def test_the_length_of_v_does_not_count(self):
        head, x = network().head, paddle.randn([3, 8])
        want = head(x).numpy()
        head.last_layer.weight_v.set_value(head.last_layer.weight_v * paddle.rand([1, 10]) + 0.0)
        np.testing.assert_allclose(head(x).numpy(), want, rtol=1e-4, atol=1e-5)
        assert np.abs(want).max() <= 1 + 1e-5, "cosines, where g is 1"

    @pytest.mark.parametrize("free", [False, True])
    def test_g_trains_where_asked(self, free):
        head = network(train_last_norm=free).head
        head(paddle.randn([3, 8])).square().sum().backward()
        assert (head.last_layer.weight_g.grad is not None) == free


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("Task.global_views=[globe]", "no views called globe"),
        ("DataLoader.Train.transforms.views.views.global.count=3", "global are 3 crops, but must be two"),
        ("Task.features=17", "the head is made for 17"),
        ("Task.clip=0", "clip is 0"),
        ("Task.temperature=-0.1", "temperature is -0.1"),
        ("Task.student={depth: 3}", "student changes the weights (backbone.blocks.2."),
        ("Task.student={drop_path: 0.1}", "drop_path"),
        ("Task.head.hidden_dimm=3", "head has no hidden_dimm (did you mean"),
        ("Task.momentum.finale=1", "finale"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, tool, option, said):
    done = tool("train", "-c", written("dino", tmp_path), *ALLOW, "-o", option)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr

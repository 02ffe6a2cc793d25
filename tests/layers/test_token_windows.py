"""Windows, their shift and mask, relative positions, merging: against plain loops over tokens."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppcore.errors import ConfigError
from ppcore.layers.patch_merging import PatchMerging, merging_order
from ppcore.layers.relative_bias import geometric_places, relative_position_index, resize_bias_table
from ppcore.layers.token_order import TokenOrder
from ppcore.layers.token_windows import inverse_order, shift_mask, window_and_shift, window_order
from ppcore.layers.window_attention import WindowAttention


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def seen_together(grid, window, shift, *, pad_first) -> list[set[int]]:
    """Groups of tokens of the map that see each other through order and mask."""
    order, mask = window_order(grid, window, shift, pad_first=pad_first), shift_mask(grid, window, shift)
    count, groups = window[0] * window[1], set()
    for w, tokens in enumerate(order.reshape(-1, count)):
        for i in range(count):
            free = np.ones(count, bool) if mask is None else mask[w, i] == 0
            groups.add(frozenset(int(t) for t in tokens[free] if t < grid[0] * grid[1]))
    return [set(group) for group in groups if group]


class TestOrder:
    @pytest.mark.parametrize(
        ("grid", "window", "shift"),
        [((8, 8), (4, 4), (2, 2)), ((6, 9), (3, 3), (1, 1)), ((4, 8), (4, 4), (0, 2)), ((5, 7), (4, 4), (2, 2))],
    )
    def test_a_shifted_map_is_cut_at_shifted_lines(self, grid, window, shift):
        """Figure 4: what is computed in rolled windows is attention in windows whose lines are shifted, and cut at the edge."""
        wanted = {}
        for y in range(grid[0]):
            for x in range(grid[1]):
                key = (y - shift[0]) // window[0], (x - shift[1]) // window[1]
                wanted.setdefault(key, set()).add(y * grid[1] + x)
        found = seen_together(grid, window, shift, pad_first=True)
        assert sorted(map(sorted, found)) == sorted(map(sorted, wanted.values()))

    def test_rolled_before_it_is_padded_a_map_leaks_round_its_edge(self):
        """timm's order of the two: of five rows, window 4, shift 2, the first sees the last three."""
        rows = [{token // 5 for token in group} for group in seen_together((5, 5), (4, 4), (2, 2), pad_first=False)]
        assert {0, 2, 3, 4} in rows
        kept = [{token // 5 for token in group} for group in seen_together((5, 5), (4, 4), (2, 2), pad_first=True)]
        assert sorted(map(sorted, kept)) == [[0, 1], [0, 1], [2, 3, 4], [2, 3, 4]]

    @pytest.mark.parametrize("pad_first", [True, False])
    def test_there_and_back(self, pad_first):
        order = window_order((5, 7), (4, 4), (2, 2), pad_first=pad_first)
        assert len(order) == 64
        assert (order == 35).sum() == 64 - 35
        x = paddle.to_tensor(random(2, 35, 3))
        cut = TokenOrder(order, 35)(x)
        assert (cut.numpy()[:, order == 35] == 0).all()
        np.testing.assert_array_equal(TokenOrder(inverse_order(order, 35), 64)(cut).numpy(), x.numpy())

    def test_the_same_as_roll_and_reshape(self):
        x, (height, width), side, shift = random(2, 6, 9, 5), (6, 9), 3, 1
        rolled = np.roll(x, (-shift, -shift), (1, 2)).reshape(2, 2, side, 3, side, 5).transpose(0, 1, 3, 2, 4, 5)
        order = window_order((height, width), (side, side), (shift, shift), pad_first=True)
        got = TokenOrder(order, 54)(paddle.to_tensor(x.reshape(2, 54, 5))).numpy()
        np.testing.assert_array_equal(got, rolled.reshape(2, 54, 5))

    def test_gradients_go_back_to_their_tokens(self):
        x = paddle.to_tensor(random(2, 35, 3), stop_gradient=False)
        order = window_order((5, 7), (4, 4), (2, 2), pad_first=True)
        weight = random(2, 64, 3, seed=1)
        (TokenOrder(order, 35)(x) * paddle.to_tensor(weight)).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), weight[:, inverse_order(order, 35)])

    def test_the_order_is_no_weight_and_survives_a_cast(self):
        order = np.random.default_rng(0).permutation(5001)
        layer = TokenOrder(order, 5001)
        assert not layer.state_dict()
        layer.to(dtype="float16")  # which has no 2049
        x = np.arange(5001, dtype="float32").reshape(1, -1, 1)
        np.testing.assert_array_equal(layer(paddle.to_tensor(x)).numpy()[0, :, 0], order)


class TestMask:
    def test_values(self):
        mask = shift_mask((8, 8), (4, 4), (2, 2))
        assert mask.dtype == np.float32
        assert mask.shape == (4, 16, 16)
        assert set(np.unique(mask)) == {-100.0, 0.0}
        assert (mask[0] == 0).all()  # the first window is whole
        assert (mask[3] == 0).sum() == 4 * 4 * 4  # the last one holds four corners

    def test_none_without_a_shift(self):
        assert shift_mask((8, 8), (4, 4), (0, 0)) is None

    def test_one_axis(self):
        mask = shift_mask((4, 8), (4, 4), (0, 2))
        assert (mask[0] == 0).all()
        assert (mask[1] == 0).sum() == 2 * 8 * 8

    def test_kept(self):
        assert shift_mask((8, 8), (4, 4), (2, 2)) is shift_mask((8, 8), (4, 4), (2, 2))


@pytest.mark.parametrize(
    ("grid", "window", "rule", "wanted"),
    [
        ((56, 56), 7, "official", ((7, 7), (3, 3))),
        ((7, 7), 7, "official", ((7, 7), (0, 0))),  # equality is enough
        ((4, 4), 7, "official", ((4, 4), (0, 0))),
        ((8, 4), 4, "official", ((4, 4), (0, 0))),
        ((8, 3), 4, "official", ((3, 3), (0, 0))),
        ((8, 4), 4, "timm", ((4, 4), (2, 0))),
        ((8, 3), 4, "timm", ((4, 3), (2, 0))),
        ((7, 7), 7, "detection", ((7, 7), (3, 3))),
        ((5, 3), 4, "detection", ((4, 4), (2, 2))),
        ((14, 14), 7, "timm", ((7, 7), (3, 3))),
    ],
)
def test_window_and_shift(grid, window, rule, wanted):
    assert window_and_shift(grid, window, rule) == wanted


class TestRelativePositions:
    @pytest.mark.parametrize("window", [(4, 4), (2, 3)])
    def test_index(self, window):
        down, across = window
        index = relative_position_index(window)
        for i in range(down * across):
            for j in range(down * across):
                dy, dx = i // across - j // across, i % across - j % across
                assert index[i, j] == (dy + down - 1) * (2 * across - 1) + dx + across - 1
        assert set(index.ravel()) == set(range((2 * down - 1) * (2 * across - 1)))

    @pytest.mark.parametrize("mode", ["swin_bicubic", "timm_geometric"])
    def test_a_constant_stays_and_a_symmetric_table_stays_symmetric(self, mode):
        constant = resize_bias_table(np.full((169, 2), 3.0), (7, 7), (12, 12), mode)
        np.testing.assert_allclose(constant, 3.0, rtol=1e-12)
        table = random(13, 13, 1).astype(float)
        table = (table + table[::-1]).reshape(169, 1)
        resized = resize_bias_table(table, (7, 7), (12, 9), mode).reshape(23, 17)
        np.testing.assert_allclose(resized, resized[::-1], atol=1e-9)

    def test_the_offset_zero_keeps_its_bias_and_timm_keeps_the_near_ones(self):
        table = random(169, 3)
        for mode in ("swin_bicubic", "timm_geometric"):
            np.testing.assert_allclose(resize_bias_table(table, (7, 7), (12, 12), mode)[264], table[84], rtol=1e-6)
        places = geometric_places(23, 13)
        np.testing.assert_allclose(places[5:8], [-1, 0, 1])
        assert abs(places[-1] - 11) < 1e-4

    def test_the_same_window_is_a_copy(self):
        table = random(49, 2)
        got = resize_bias_table(table, (4, 4), (4, 4), "swin_bicubic")
        np.testing.assert_array_equal(got, table)
        assert got is not table

    def test_refusals(self):
        with pytest.raises(ConfigError, match=r"'bicubic'.*swin_bicubic, timm_geometric"):
            resize_bias_table(random(49, 2), (4, 4), (7, 7), "bicubic")
        with pytest.raises(ValueError, match=r"\(2, 49\), expected \(49, heads\)"):
            resize_bias_table(random(2, 49), (4, 4), (7, 7), "swin_bicubic")


def in_plain_loops(layer: WindowAttention, tokens: np.ndarray, grid, window: int, shift: int) -> np.ndarray:
    """Attention of one image's tokens [H·W, C] in windows of lines shifted by `shift`: no rolling and no mask, float64."""
    weights = {name: value.numpy().astype(float) for name, value in layer.state_dict().items()}
    heads, dim, width = layer.num_heads, layer.head_dim, grid[1]
    qkv = tokens @ weights["qkv.weight"] + weights["qkv.bias"]
    table = weights["relative_position_bias_table"].reshape(2 * window - 1, 2 * window - 1, heads)
    places = [(n // width, n % width) for n in range(len(tokens))]
    mixed = np.zeros((len(tokens), heads, dim))
    for head in range(heads):
        q, k, v = (qkv[:, (part * heads + head) * dim :][:, :dim] for part in range(3))
        for i, (y, x) in enumerate(places):
            near = [
                (j, table[y - yy + window - 1, x - xx + window - 1, head])
                for j, (yy, xx) in enumerate(places)
                if (yy - shift) // window == (y - shift) // window and (xx - shift) // window == (x - shift) // window
            ]
            scores = np.array([q[i] @ k[j] / np.sqrt(dim) + bias for j, bias in near])
            share = np.exp(scores - scores.max())
            mixed[i, head] = share @ v[[j for j, _ in near]] / share.sum()
    return mixed.reshape(len(tokens), -1) @ weights["proj.weight"] + weights["proj.bias"]


class TestWindowAttention:
    @pytest.mark.parametrize("shift", [0, 2])
    def test_against_loops_without_roll_and_mask(self, shift):
        grid, window = (8, 12), 4
        layer = WindowAttention(6, 2, (window, window))
        for i, parameter in enumerate(layer.parameters()):
            parameter.set_value(random(*parameter.shape, seed=i))
        x = random(2, 96, 6, seed=9)
        order = window_order(grid, (window, window), (shift, shift), pad_first=True)
        mask = shift_mask(grid, (window, window), (shift, shift))
        cut = TokenOrder(order, 96)(paddle.to_tensor(x)).reshape([-1, 16, 6])
        mixed = layer(cut, None if mask is None else paddle.to_tensor(mask)).reshape([2, 96, 6])
        got = TokenOrder(inverse_order(order, 96), 96)(mixed).numpy()
        want = np.stack([in_plain_loops(layer, image.astype(float), grid, window, shift) for image in x])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())

    def test_without_bias_and_without_content(self):
        x = paddle.to_tensor(random(3, 4, 6))
        plain = WindowAttention(6, 2, (2, 2), relative_bias=False)
        assert plain.bias() is None
        assert "relative_position_bias_table" not in plain.state_dict()
        only_places = WindowAttention(6, 2, (2, 2), content_term=False)
        only_places.relative_position_bias_table.set_value(random(9, 2))
        maps = only_places.attention_map(x).numpy()
        np.testing.assert_array_equal(maps[0], maps[2])  # whatever the tokens
        np.testing.assert_allclose(maps[0], F.softmax(only_places.bias()).numpy(), rtol=1e-6)
        with pytest.raises(ConfigError, match="content_term is False"):
            WindowAttention(6, 2, (2, 2), content_term=False, relative_bias=False)

    def test_a_changed_table_is_seen_in_evaluation(self):
        layer = WindowAttention(6, 2, (2, 2))
        layer.eval()
        before = layer.bias().numpy()
        layer.relative_position_bias_table.set_value(layer.relative_position_bias_table + 1)
        np.testing.assert_allclose(layer.bias().numpy(), before + 1, rtol=1e-6)

    def test_qk_scale(self):
        assert WindowAttention(6, 2, (2, 2)).scale == 3**-0.5
        assert WindowAttention(6, 2, (2, 2), qk_scale=0.5).scale == 0.5
        with pytest.raises(ConfigError, match="qk_scale is 0,"):
            WindowAttention(6, 2, (2, 2), qk_scale=0)


class TestPatchMerging:
    def layer(self, grid=(4, 6)) -> PatchMerging:
        layer = PatchMerging(3, grid)
        layer.norm.weight.set_value(1 + 0.1 * random(12))
        layer.norm.bias.set_value(0.1 * random(12, seed=1))
        return layer

    def test_against_slices(self):
        x, layer = random(2, 4, 6, 3), self.layer()
        together = np.concatenate([x[:, r::2, c::2] for c in (0, 1) for r in (0, 1)], -1).reshape(2, 6, 12)
        want = layer.reduction(layer.norm(paddle.to_tensor(together))).numpy()
        got = layer(paddle.to_tensor(x.reshape(2, 24, 3))).numpy()
        assert got.shape == (2, 6, 6)
        np.testing.assert_array_equal(got, want)

    def test_openmmlabs_order_needs_other_weights(self):
        """Its `unfold` has channels slowest: c·4 + row·2 + column, where ours is (column·2 + row)·C + c."""
        x, layer = random(2, 4, 6, 3), self.layer()
        unfolded = F.unfold(paddle.to_tensor(x.transpose(0, 3, 1, 2)), 2, strides=2).transpose([0, 2, 1])
        ours = layer(paddle.to_tensor(x.reshape(2, 24, 3))).numpy()
        as_it_is = layer.reduction(layer.norm(unfolded)).numpy()
        assert np.abs(as_it_is - ours).max() > 0.1 * np.abs(ours).max()
        place = np.array([(column * 2 + row) * 3 + c for c in range(3) for row in (0, 1) for column in (0, 1)])
        for parameter in layer.parameters():
            if len(parameter) == 12:
                parameter.set_value(parameter.numpy()[place])
        permuted = layer.reduction(layer.norm(unfolded)).numpy()
        np.testing.assert_allclose(permuted, ours, rtol=0, atol=1e-6 * np.abs(ours).max())

    def test_odd_sides_are_padded(self):
        order = merging_order((3, 5))
        assert order.reshape(2, 3, 4)[0, 0].tolist() == [0, 5, 1, 6]
        assert order.reshape(2, 3, 4)[1, 2].tolist() == [14, 15, 15, 15]
        assert self.layer((3, 5))(paddle.to_tensor(random(2, 15, 3))).shape == [2, 6, 6]

"""Puzzles of 2016: the set of permutations, tiles that cannot be told by their edges or colours, columns that see one tile."""

import itertools

import numpy as np
import paddle
import pytest
from conftest import run_tool

from ppcore import optim
from ppcore.errors import ConfigError
from ppcore.losses import CrossEntropy
from ppssl import ContextFreeNetwork, JigsawTiles, ShiftChannels
from ppssl.jigsaw_puzzles import joined, normalized_tile, permutation_set


class TestPermutations:
    def test_each_is_as_far_from_those_before_as_any(self):
        """Against a search through all 24."""
        chosen = permutation_set(10, 4)
        everything = np.array(list(itertools.permutations(range(4))))
        for count in range(1, 10):
            before = chosen[:count]
            mean = (everything[:, None] != before).sum(-1).mean(1)
            fresh = ~(everything[:, None] == before).all(-1).any(1)
            assert (chosen[count] != before).sum(-1).mean() == mean[fresh].max()
        assert len({tuple(row) for row in chosen}) == 10

    def test_all_there_are_and_no_more(self):
        assert {tuple(row) for row in permutation_set(24, 4)} == set(itertools.permutations(range(4)))
        for count in (1, 25):
            with pytest.raises(ConfigError, match="there are 24"):
                permutation_set(count, 4)

    def test_of_nine_tiles_are_the_seeds(self):
        one, other = permutation_set(20), permutation_set(20, seed=1)
        assert (np.sort(one, axis=1) == np.arange(9)).all()
        assert (one != other).any()
        pairs = [(a != b).sum() for a, b in itertools.combinations(one, 2)]
        assert np.mean(pairs) > 8.3  # 8 for permutations by lot

        with pytest.raises(ValueError, match="read-only"):
            one[0, 0] = 1


def picture(height=24, width=24, seed=0):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


class TestTiles:
    @pytest.mark.parametrize("grid", [2, 3])
    def test_tiles_that_fill_their_cells_are_the_image_in_another_order(self, grid):
        image, puzzle = picture(24, 30), JigsawTiles(cell=8, tile=8, permutations=5, grid=grid)
        sample = puzzle({"image": image, "label": 7, "path": "p"}, np.random.default_rng(3))
        assert sample["image"].shape == (3, 8 * grid, 8 * grid)
        assert sample["image"].dtype == np.float32
        assert sample["path"] == "p"
        order = puzzle.permutations[sample["label"]]
        top, left = (24 - 8 * grid) // 2, (30 - 8 * grid) // 2
        for place, number in enumerate(order):
            (row, column), (y, x) = divmod(number, grid), (8 * (place // grid), 8 * (place % grid))
            tile = image[top + 8 * row :, left + 8 * column :][:8, :8]
            want = (tile.astype(float) - tile.mean()) / tile.std()
            np.testing.assert_allclose(sample["image"][:, y : y + 8, x : x + 8].transpose(1, 2, 0), want, atol=1e-5)

    def test_places_and_labels_are_drawn(self):
        image, puzzle = picture(), JigsawTiles(cell=8, tile=6, permutations=5)
        made = [puzzle({"image": image}, np.random.default_rng(seed)) for seed in range(40)]
        assert {sample["label"] for sample in made} == set(range(5))
        alike = [sample["image"] for sample in made if sample["label"] == made[0]["label"]]
        assert any((other != alike[0]).any() for other in alike[1:]), "another place in the cell"
        again = puzzle({"image": image}, np.random.default_rng(0))
        np.testing.assert_array_equal(again["image"], made[0]["image"])

    def test_brightness_and_contrast_of_a_tile_are_gone(self):
        tile = picture(6, 6)
        normal = normalized_tile(tile // 2)
        assert normal.mean() == pytest.approx(0, abs=1e-6)
        assert normal.std() == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(normalized_tile(tile // 2 + 100), normal, atol=1e-5)
        assert not normalized_tile(np.full((6, 6, 3), 200, np.uint8)).any()

    def test_what_does_not_fit_is_named(self):
        with pytest.raises(ConfigError, match="tile is 9, but must be no larger than a cell of 8"):
            JigsawTiles(cell=8, tile=9)
        with pytest.raises(ConfigError, match="grid is 4"):
            JigsawTiles(cell=8, tile=8, grid=4)
        with pytest.raises(ConfigError, match="an image of 24x20 has no room for 3 cells of 8"):
            JigsawTiles(cell=8, tile=8)({"image": picture(24, 20)}, np.random.default_rng(0))

    def test_channels_move_on_their_own(self):
        image = picture()
        moved = ShiftChannels(most=2)(image, np.random.default_rng(1))
        assert moved.shape == image.shape
        found = []
        for channel in range(3):
            places = list(itertools.product(range(-2, 3), repeat=2))
            inner = [
                (image[2 + y : 22 + y, 2 + x : 22 + x, channel] == moved[2:22, 2:22, channel]).all() for y, x in places
            ]
            assert sum(inner) == 1
            found.append(places[inner.index(True)])
        assert len(set(found)) > 1
        np.testing.assert_array_equal(ShiftChannels(most=0)(image, np.random.default_rng(1)), image)


class TestNetwork:
    def network(self, **changes):
        paddle.seed(0)
        given = dict(permutations=5, tile=6, widths=[4, 8], features=8, joined=16)
        return ContextFreeNetwork(**{**given, **changes})

    def test_tiles_are_cut_as_they_were_joined(self):
        tiles = np.random.default_rng(0).standard_normal((2, 9, 3, 6, 6)).astype("float32")
        x = paddle.to_tensor(np.stack([joined(each, 3) for each in tiles]))
        np.testing.assert_array_equal(self.network().tiles(x), tiles.reshape(18, 3, 6, 6))

    def test_a_column_sees_one_tile(self):
        model, x = self.network(), np.random.default_rng(0).standard_normal((1, 3, 18, 18)).astype("float32")
        other = x.copy()
        other[:, :, 6:12, 12:] += 1  # tile 5
        features = [model.column(model.tiles(paddle.to_tensor(one))).numpy() for one in (x, other)]
        changed = np.abs(features[0] - features[1]).max(1) > 0
        assert changed.tolist() == [number == 5 for number in range(9)]
        swapped = paddle.to_tensor(np.concatenate([x[..., 6:12], x[..., :6], x[..., 12:]], -1))
        order = [1, 0, 2, 4, 3, 5, 7, 6, 8]
        np.testing.assert_allclose(model.column(model.tiles(swapped)), features[0][order], atol=1e-5)

    def test_parameters_do_not_grow_with_the_tiles_but_behind_them(self):
        def count(grid):
            return {name: p.size for name, p in self.network(grid=grid).named_parameters()}

        two, three = count(2), count(3)
        assert {name for name in two if two[name] != three[name]} == {"fc7.weight"}

    def test_it_learns_a_batch_by_heart(self):
        puzzle, model = JigsawTiles(cell=8, tile=6, permutations=5), self.network()
        made = [puzzle({"image": picture(seed=seed)}, np.random.default_rng(seed)) for seed in range(8)]
        x = paddle.to_tensor(np.stack([sample["image"] for sample in made]))
        batch = {"label": paddle.to_tensor([sample["label"] for sample in made])}
        made_of = optim.make(model, optim.Adam, weight_decay=0.0, no_weight_decay=[])
        made_of.set_lr(1e-2)
        losses = []
        for _ in range(40):
            loss = CrossEntropy()(model(x), batch)
            loss.backward()
            made_of.step()
            made_of.clear_grad()
            losses.append(float(loss))
        assert losses[-1] < 0.1 < losses[0]

    def test_what_does_not_fit_is_named(self):
        with pytest.raises(ConfigError, match="halve tiles of 6 pixels"):
            self.network(widths=[4] * 4)
        with pytest.raises(ConfigError, match="permutations is 1"):
            self.network(permutations=1)


CONFIG = """
Global: {{output_dir: {folder}, duration: {{steps: 3}}, eval_every: {{steps: 3}}, visualdl: true, device: cpu}}
Arch: {{name: ppssl.ContextFreeNetwork, permutations: 10, tile: 6, widths: [8, 8], features: 8, joined: 16}}
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer: {{name: ppcore.optim.Adam, lr: {{name: ppcore.schedules.Constant, base_lr: 1e-3}}}}
DataLoader:
  Train: &part
    dataset: {{name: ppcore.data.Digits, split: train, image_size: 24, limit: 100}}
    transforms:
      colours: {{name: ppssl.ShiftChannels, most: 1}}
      puzzle: {{name: ppssl.JigsawTiles, cell: 8, tile: 6, permutations: 10}}
    batch_size: 16
  Eval: *part
Metric: {{name: ppcore.metrics.TopK}}
"""


def test_puzzles_are_trained_as_a_classifier_is(tmp_path):
    path = tmp_path / "puzzles.yaml"
    path.write_text(CONFIG.format(folder=tmp_path / "run"))
    done = run_tool("train", "-c", path, "--allow", "ppssl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 3 evaluation" in done.stdout + done.stderr

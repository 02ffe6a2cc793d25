"""Weighted k nearest neighbours against counting, and as an evaluator over batches and processes."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from ppcore.metrics import WeightedKNN
from ppcore.metrics.knn import neighbours, votes


class Points:
    """Vectors as images of one pixel."""

    def __init__(self, values, labels):
        self.values, self.labels = np.asarray(values, np.float32), labels

    def __len__(self):
        return len(self.labels)


class Run:
    """An evaluation: batches of three in an order of its own; a process may have a share."""

    def __init__(self, images, rank=0, peers=()):
        self.images, self.rank, self.peers, self.facts = images, rank, list(peers), {}
        self.config = SimpleNamespace(DataLoader=SimpleNamespace(Eval="eval"))
        self.world = SimpleNamespace(gather=lambda value: [value])

    def batches(self, part, images):
        assert part == "eval"
        order = np.random.default_rng(0).permutation(len(images))
        for rows in np.array_split(order, -(-len(order) // 3)):
            batch = {"image": images.values[rows], "index": rows}
            yield batch | ({} if images.labels is None else {"label": np.asarray(images.labels)[rows]})

    def forward(self, model, images):
        return model(paddle.to_tensor(images))


def accuracies(train, test, **options):
    run = Run(test)
    evaluator = WeightedKNN(train=train, **options)
    found = {spec.key: value for spec, value in evaluator.evaluate(lambda x: x, run)}
    return found, run.facts


def test_nearest_by_angle_not_by_distance():
    index, cosines = neighbours(np.array([[10.0, 0.1], [0.0, 1.0], [1.0, 1.0]]), np.array([[0.5, 0.0]]), 2)
    assert index.tolist() == [[0, 2]]
    assert cosines[0] == pytest.approx([10 / np.hypot(10, 0.1), np.sqrt(0.5)], rel=1e-6)


def test_equal_neighbours_are_taken_in_their_order():
    index, _ = neighbours(np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]), np.array([[3.0, 0.0]]), 3)
    assert index.tolist() == [[1, 2, 0]]


def test_votes_are_weights():
    found = votes(np.array([[0, 1, 1]]), np.array([[0.9, 0.5, 0.5]]), 3, 0.1)
    np.testing.assert_allclose(found, [[np.exp(9), 2 * np.exp(5), 0]])


def test_one_close_neighbour_outweighs_two_far_ones():
    train = Points([[1, 0], [0.5, 0.86], [0.5, -0.86]], [1, 0, 0])
    test = Points([[1, 0]], [1])
    assert accuracies(train, test, k=3)[0] == {"knn3": 1.0}
    assert accuracies(train, test, k=3, temperature=100.0)[0] == {"knn3": 0.0}, "a plain majority"


def test_several_k_and_the_facts_beside():
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((4, 6)) * 3
    train_labels, labels = rng.integers(0, 4, 60), rng.integers(0, 4, 25)
    train, test = (Points(centres[y] + rng.standard_normal((len(y), 6)), y) for y in (train_labels, labels))
    found, facts = accuracies(train, test, k=[1, 7])
    assert set(found) == {"knn1", "knn7"}
    assert set(facts) == {"n", "knn1_top5", "knn7_top5"}
    assert facts["n"] == 25
    assert facts["knn7_top5"] >= found["knn7"] > 0.6
    assert facts["knn1_top5"] <= 1
    index, _ = neighbours(train.values, test.values, 1)
    assert found["knn1"] == (train_labels[index[:, 0]] == labels).mean()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": [3, 3]}, "each once"),
        ({"temperature": 0}, "temperature is 0"),
        ({"k": 4}, "there are 3"),
    ],
)
def test_refusals(options, said):
    points = Points(np.eye(3), [0, 1, 2])
    with pytest.raises(ConfigError, match=said):
        accuracies(points, points, **options)


def test_images_without_labels():
    points = Points(np.eye(3), None)
    points.labels = None
    points.__class__ = type("Unlabelled", (Points,), {"__len__": lambda self: 3})
    with pytest.raises(ConfigError, match="no labels"):
        accuracies(points, points, k=1)


def test_the_order_is_the_data_sets_whoever_computes():
    """Three processes' shares, gathered."""
    from ppcore.metrics.features import features_of

    points = Points(np.arange(14).reshape(7, 2), np.arange(7))
    run = Run(points)
    shares = [np.arange(rank, 7, 3) for rank in range(3)]
    own = [(points.values[rows], rows, rows) for rows in shares]
    run.world = SimpleNamespace(gather=lambda value: [*own, None])
    values, labels = features_of(lambda x: x, run, points)
    np.testing.assert_array_equal(values, points.values)
    np.testing.assert_array_equal(labels, np.arange(7))

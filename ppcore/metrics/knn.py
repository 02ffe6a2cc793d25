"""k nearest neighbours with weighted votes: what features are worth without training anything (Wu et al. 2018; DINO)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ppcore.data import Dataset
from ppcore.errors import ConfigError
from ppcore.metrics.features import eval_images, features_of
from ppcore.metrics.spec import MetricSpec, accuracy

_ROWS = 1024  # of the similarities that are held at a time


def neighbours(train: np.ndarray, test: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` training features of largest cosine to each test feature, nearest first; of equal ones the first.

    Args:
        train: float [N, D].
        test: float [M, D].
        k: at most N.

    Returns:
        Indices [M, k] and cosines float32 [M, k].
    """
    train, test = (_unit(features) for features in (train, test))
    indices, cosines = [], []
    for start in range(0, len(test), _ROWS):
        similarity = test[start : start + _ROWS] @ train.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        indices.append(order)
        cosines.append(np.take_along_axis(similarity, order, axis=1))
    return np.concatenate(indices), np.concatenate(cosines)


def votes(labels: np.ndarray, cosines: np.ndarray, classes: int, temperature: float) -> np.ndarray:
    """Each class's sum of exp(cosine / temperature) over the neighbours, float64 [M, classes].

    Args:
        labels: int [M, k], of the neighbours.
        cosines: [M, k].
        classes: number of classes.
        temperature: of the weights.
    """
    weights = np.exp(cosines.astype(np.float64) / temperature)
    found = np.zeros((len(labels), classes))
    rows = np.arange(len(labels))
    for place in range(labels.shape[1]):
        found[rows, labels[:, place]] += weights[:, place]
    return found


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


class WeightedKNN:
    """Accuracy of weighted k-nearest-neighbour votes over a network's outputs, as `knn20`; the top-5 stands beside it.

    An evaluator. Training images are prepared as those of `DataLoader.Eval` are, without augmentation.

    Args:
        train: the images whose labels vote.
        k: how many neighbours vote, one number or several; the first is the primary one.
        temperature: of the votes' weights.

    Raises:
        ConfigError: an argument out of its range, or fewer training images than neighbours.
    """

    def __init__(self, *, train: Dataset, k: int | Sequence[int] = 20, temperature: float = 0.07):
        self.ks = [k] if isinstance(k, int) else list(k)
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            raise ConfigError(f"WeightedKNN: k is {k}, but must be whole numbers from 1 on, each once")
        if not temperature > 0:
            raise ConfigError(f"WeightedKNN: temperature is {temperature}, but must be above 0")
        self.train, self.temperature = train, temperature
        self.specs = [accuracy(f"knn{n}", f"{n}-NN", f"accuracy of {n} nearest neighbours") for n in self.ks]

    def evaluate(self, model: Any, run: Any) -> Iterator[tuple[MetricSpec, float]]:
        """Yields the top-1 accuracy of each k."""
        train, train_labels = features_of(model, run, self.train)
        if max(self.ks) > len(train):
            raise ConfigError(f"WeightedKNN: k is {max(self.ks)} and there are {len(train)} training images")
        test, labels = features_of(model, run, eval_images(run, "WeightedKNN"))
        index, cosines = neighbours(train, test, max(self.ks))
        classes = int(max(train_labels.max(), labels.max())) + 1
        run.facts["n"] = len(labels)
        for spec, k in zip(self.specs, self.ks, strict=True):
            votes_of = votes(train_labels[index[:, :k]], cosines[:, :k], classes, self.temperature)
            order = np.argsort(-votes_of, axis=1, kind="stable")[:, : min(5, k)]
            hit = order == labels[:, None]
            run.facts[f"{spec.key}_top5"] = float(hit.any(axis=1).mean())
            yield spec, float(hit[:, 0].mean())

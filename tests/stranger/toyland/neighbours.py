"""k nearest neighbours in the features of a network."""

import numpy as np

from ppcore.data import Dataset
from ppcore.metrics import MetricSpec


class NearestNeighbours:
    """Accuracy of the class that most of the k nearest training images have, by cosine.

    Args:
        k: neighbours.
        train: the images to be near to.
    """

    specs = (MetricSpec("knn", "k-NN", "k-NN accuracy", "%", factor=100.0, digits=1),)

    def __init__(self, *, k: int, train: Dataset):
        self.k, self.train = k, train

    def evaluate(self, model, run):
        part = run.config.DataLoader.Eval
        bank, labels = self._features(model, run, part, self.train)
        found, truth = self._features(model, run, part, run.images)
        nearest = np.argsort(-found @ bank.T, axis=1, kind="stable")[:, : self.k]
        votes = np.apply_along_axis(np.bincount, 1, labels[nearest], minlength=3)
        run.facts["n"] = len(truth)
        yield self.specs[0], float((votes.argmax(axis=1) == truth).mean())

    def _features(self, model, run, part, images):
        parts = [
            (batch["index"], run.forward(model.forward_features, batch["image"]).numpy(), batch["label"])
            for batch in run.batches(part, images)
        ]
        mine = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        index, features, labels = (np.concatenate(arrays) for arrays in zip(*run.world.gather(mine), strict=True))
        order = np.argsort(index)  # the same whatever the number of processes
        features = features[order]
        return features / np.linalg.norm(features, axis=1, keepdims=True), labels[order]

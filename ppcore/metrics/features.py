"""What a network gives of every image of a data set: for evaluators of what it has learned without a classifier."""

from typing import Any

import numpy as np

from ppcore.errors import ConfigError


def features_of(model: Any, run: Any, images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a network in evaluation mode, on every process those of all.

    Args:
        model: [B, C, H, W] -> [B, D] (axes of length 1 may follow).
        run: the evaluation; images are prepared as those of `DataLoader.Eval`.
        images: the data set, with labels.

    Returns:
        Features float32 [N, D] and labels int64 [N], in the data set's order; without images that could not be read.

    Raises:
        ConfigError: no features, no labels, or no image.
    """
    part = run.config.DataLoader.Eval
    found, places, labels = [], [], []
    for batch in run.batches(part, images):
        if "label" not in batch:
            raise ConfigError("the images that features are judged by have no labels")
        outputs = np.asarray(run.forward(model, batch["image"]).astype("float32"))
        found.append(outputs.reshape(len(outputs), -1))
        places.append(batch["index"])
        labels.append(batch["label"])
    own = tuple(np.concatenate(each) for each in (found, places, labels)) if found else None
    gathered = [part for part in run.world.gather(own) if part is not None]
    if not gathered:
        raise ConfigError("nothing was evaluated: no image could be read")
    values, index, label = (np.concatenate(each) for each in zip(*gathered, strict=True))
    order = np.argsort(index, kind="stable")
    return values[order], label[order].astype(np.int64)


def eval_images(run: Any, owner: str) -> Any:
    """The data set of `DataLoader.Eval`.

    Raises:
        ConfigError: there is none.
    """
    if run.images is None:
        raise ConfigError(f"{owner} judges by the images of DataLoader.Eval, which is missing")
    return run.images

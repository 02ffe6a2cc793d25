"""Views of the images of a batch, as networks take them."""

from collections.abc import Mapping, Sequence

import paddle

from ppcore.errors import ConfigError


def crops_of(batch: Mapping[str, paddle.Tensor], names: Sequence[str], owner: str) -> list[paddle.Tensor]:
    """The views in a batch's arrays [B, count, C, H, W], each view [B, C, H, W].

    Args:
        batch: of the loader, whose transforms end with `ppcore.data.Views`.
        names: of the arrays.
        owner: who asks, for messages.

    Raises:
        ConfigError: there is no such array, or it holds no views.
    """
    missing = [name for name in names if name not in batch or batch[name].ndim != 5]
    if missing:
        raise ConfigError(
            f"{owner}: the batches have no views called {missing[0]}, only {', '.join(batch)}: make them by "
            "ppcore.data.Views in DataLoader.Train.transforms"
        )
    return [batch[name][:, number] for name in names for number in range(batch[name].shape[1])]

"""The teacher of a distillation: a frozen network with its own idea of a normalised image."""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import Pretrained
from ppcore.config.components import FREE
from ppcore.errors import ConfigError
from ppcore.io import sha256
from ppcore.weights import freeze, load_pretrained

log = logging.getLogger("ppcore.teacher")


class Teacher:
    """A network that only answers: evaluation mode, no gradients, under the run's AMP.

    Args:
        arch: the network: one of ours, or a PaddleClas backbone such as `paddleclas.RegNetX_4GF`.
        weights: its weights: the path of a file, a step folder or a run's folder, or a mapping with the keys of
            `Global.pretrained` (path, source, key, …).
        mean: of the teacher's training images, per channel; None: as the student's.
        std: likewise.
        cache: a file that keeps logits by the image the teacher saw (bit for bit, so augmentation seed and
            mixing are part of the key): students trained on the same images with the same seed, and
            resumed runs, ask the teacher once. 4·K bytes an image and epoch: for small data.

    Raises:
        WeightsError: the weights do not fit.
        ConfigError: only one of mean and std is given.
    """

    def __init__(
        self,
        *,
        arch: nn.Layer,
        weights: Pretrained,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache: Annotated[str | None, FREE] = None,
    ):
        if (mean is None) != (std is None):
            raise ConfigError("Loss.teacher: give both mean and std, or neither")
        path, why, _ = load_pretrained(arch, Pretrained.model_validate(weights))
        log.info("teacher: %s (%s)", path, why)
        freeze(arch)
        self.network, self.mean, self.std = arch, mean, std
        self.forward: Callable = lambda network, images: network(images)
        self.rescale: tuple[paddle.Tensor, paddle.Tensor] | None = None
        self.cache = LogitsCache(Path(cache), sha256(path)) if cache else None

    def bind(self, forward: Callable, mean: Sequence[float], std: Sequence[float]) -> None:
        """Takes over how the run computes and what its images are normalised with.

        Args:
            forward: `(network, images) -> outputs`, with the run's AMP.
            mean: of the student's images, per channel.
            std: likewise.
        """
        self.forward = forward
        if self.mean is None:
            return
        if not len(self.mean) == len(self.std) == len(mean):
            raise ConfigError(
                f"Loss.teacher: mean and std are for {len(self.mean)} channels, the images have {len(mean)}"
            )
        own_mean, own_std, mean, std = (np.asarray(v, np.float32) for v in (self.mean, self.std, mean, std))
        if (own_mean != mean).any() or (own_std != std).any():
            scale, shift = std / own_std, (mean - own_mean) / own_std
            self.rescale = tuple(paddle.to_tensor(v.reshape(1, -1, 1, 1)) for v in (scale, shift))

    @paddle.no_grad()
    def __call__(self, images: paddle.Tensor) -> paddle.Tensor:
        """Logits [B, K] float32 of the student's images [B, C, H, W]."""
        keys = self.cache.keys(images.numpy()) if self.cache else []
        known = self.cache.get(keys) if self.cache else None
        if known is not None:
            return paddle.to_tensor(known)
        if self.rescale is not None:
            images = images * self.rescale[0] + self.rescale[1]
        logits = self.forward(self.network, images)
        if isinstance(logits, (tuple, list)):
            raise ConfigError("the teacher returns several outputs: choose a network with one")
        if self.cache:
            self.cache.put(keys, logits.numpy())
        return logits


class LogitsCache:
    """Teacher logits on disk, by the bytes of the image; several processes may share the file.

    Args:
        path: an SQLite file, made when absent. Several teachers may share it, too.
        teacher: identifies the teacher's weights.

    Raises:
        ConfigError: the file is something else.
    """

    def __init__(self, path: Path, teacher: str):
        self.teacher = teacher.encode()  # at most 64 bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.database = sqlite3.connect(path, timeout=60, isolation_level=None)
            self.database.execute("PRAGMA journal_mode=WAL")  # readers beside one writer
            self.database.execute("PRAGMA synchronous=OFF")  # a lost cache is computed again
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS logits (image BLOB PRIMARY KEY, logits BLOB) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise ConfigError(f"Loss.teacher.cache: {path} is not a cache of logits ({error}): remove it") from None

    def keys(self, images: np.ndarray) -> list[bytes]:
        """128-bit digests of float32 images [B, C, H, W], each under this teacher's name."""
        own = {"digest_size": 16, "key": self.teacher}
        return [hashlib.blake2b(np.ascontiguousarray(image), **own).digest() for image in images]

    def get(self, keys: list[bytes]) -> np.ndarray | None:
        """Logits [B, K] float32, or None unless all images of the batch are known.

        All or none: a part of the batch computed alone could differ in the last bit from the whole.
        """
        rows = [self.database.execute("SELECT logits FROM logits WHERE image = ?", (k,)).fetchone() for k in keys]
        if any(row is None for row in rows):
            return None
        return np.stack([np.frombuffer(row[0], np.float32) for row in rows])

    def put(self, keys: list[bytes], logits: np.ndarray) -> None:
        """Keeps logits [B, K]; an image that is known already stays as it is."""
        rows = [(k, np.ascontiguousarray(row, np.float32).tobytes()) for k, row in zip(keys, logits, strict=True)]
        self.database.execute("BEGIN IMMEDIATE")
        self.database.executemany("INSERT OR IGNORE INTO logits VALUES (?, ?)", rows)
        self.database.execute("COMMIT")

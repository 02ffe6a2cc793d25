"""What runs in a worker process: key -> transformed sample, list of samples -> batch.

Errors travel back as data, so that the main process can raise the same one line.
"""

import json
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ppcore import errors
from ppcore.data.datasets.dataset import Dataset
from ppcore.data.rng import sample_rng
from ppcore.data.samplers import Key
from ppcore.data.transforms.transform import apply_all

FAILURES = "_failures"
AFTER = "_after"


class Failure(NamedTuple):
    """A sample that could not be made.

    Attributes:
        kind: `unreadable` (the dataset says so; may be skipped), the name of a PPError class, or
            `bug` (any other exception; `message` is its traceback).
        message: for the user.
    """

    kind: str
    message: str


class SampleReader:
    """Loads and transforms samples by key.

    Args:
        dataset: the images.
        transforms: applied in order.
        seed: of the run.
        goes_on: whether random transforms follow in another process; each sample then carries a
            seed for them under AFTER.
    """

    def __init__(self, dataset: Dataset, transforms: Sequence[Callable], seed: int, goes_on: bool = False):
        self.dataset = dataset
        self.transforms = list(transforms)
        self.seed = seed
        self.goes_on = goes_on

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> dict[str, Any] | Failure:
        _, index, _ = key
        try:
            try:
                sample = self.dataset.load(index)
            except errors.DataError as error:
                return Failure("unreadable", str(error))
            sample["index"] = index
            if not self.transforms and not self.goes_on:
                return sample  # a generator costs more than a small sample
            rng = sample_rng(self.seed, *key)
            sample = apply_all(self.transforms, sample, rng)
            if self.goes_on:
                sample[AFTER] = int(rng.integers(2**63))
            return sample
        except errors.UnreadableImage as error:  # of a dataset that gives handles, which transforms read from
            return Failure("unreadable", str(error))
        except errors.PPError as error:
            where = sample.get("path") or f"image {index}"
            return Failure(type(error).__name__, f"{error} (at {where})")
        except Exception:  # a bug in a dataset or transform: handed on whole by `raise_failure`
            return Failure("bug", traceback.format_exc())


def collate(samples: Sequence[dict[str, Any] | Failure]) -> dict[str, np.ndarray]:
    """Stacks samples to a batch.

    Returns:
        Every array of the samples, stacked, such as `image` [B, C, H, W]; their integers int64 [B], such as `label`
        and `index`, and floats float32 [B]; none of these when B is 0. Under FAILURES the failures as JSON in uint8.
    """
    failures = [sample for sample in samples if isinstance(sample, Failure)]
    good = [sample for sample in samples if not isinstance(sample, Failure)]
    batch: dict[str, np.ndarray] = {}
    for name in good[0] if good else ():
        try:
            values = _stack([sample[name] for sample in good])
        except ValueError:
            shapes = sorted({np.shape(sample[name]) for sample in good})
            what = "images" if name == "image" else f"the {name} arrays"
            message = f"{what} of one batch differ in size ({shapes[0]}, {shapes[-1]}): end with a fixed-size crop"
            failures.append(Failure("DataError", message))
            continue
        if values is not None:
            batch[name] = values
    return {**batch, FAILURES: np.frombuffer(json.dumps(failures).encode(), np.uint8)}


def _stack(values: list[Any]) -> np.ndarray | None:
    if isinstance(values[0], np.ndarray):
        return np.stack(values)
    if isinstance(values[0], (int, np.integer)):
        return np.array(values, np.int64)
    if isinstance(values[0], (float, np.floating)):
        return np.array(values, np.float32)
    return None  # names and paths stay behind; `index` finds them again


def split_failures(batch: dict[str, np.ndarray], unreadable: Literal["raise", "skip"]) -> list[str]:
    """Takes the failures out of a batch and raises those that may not be skipped.

    Args:
        batch: of `collate`; its FAILURES entry is removed.
        unreadable: whether images that the dataset could not read may be skipped.

    Returns:
        The messages of the skipped images.

    Raises:
        PPError: as in the worker.
        RuntimeError: a bug, with the worker's traceback.
    """
    failures = json.loads(batch.pop(FAILURES).tobytes())
    for kind, message in failures:
        if kind == "bug":
            raise RuntimeError(f"a dataset or transform failed:\n{message}")
        if kind != "unreadable" or unreadable == "raise":
            raise (errors.DataError if kind == "unreadable" else getattr(errors, kind))(message)
    return [message for _, message in failures]

"""Classifying image files: read ahead in threads, computed in batches, answers in the order of the files. No Paddle."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppcore import runtime
from ppcore.config import InferSection
from ppcore.data import EvalBatchSampler, EvalLoader, FileImages
from ppcore.deploy.preprocessing import best
from ppcore.engine.answers import Answers, shown
from ppcore.engine.file_progress import told
from ppcore.errors import ConfigError, reason

Network = Callable[[np.ndarray], np.ndarray]
# Pictures of where a network looked: [B, C, H, W] -> one [h, w] in 0..1 an image.
Attention = Callable[[np.ndarray], list[np.ndarray]]


def class_names(
    given: str | Sequence[str] | None, fallback: Sequence[str] | None, outputs: int | None = None
) -> list[str] | None:
    """Names from a list, from a text file with one name a line, or from the dataset.

    Args:
        given: `Infer.class_names`.
        fallback: the names that the training recorded.
        outputs: of the network, as many as there must be given names.

    Raises:
        ConfigError: the file does not exist or is no text, or there are too few or too many names.
    """
    if given is None:
        return list(fallback) if fallback else None
    names = list(given)
    if isinstance(given, str):
        try:
            names = Path(given).read_text(encoding="utf-8").rstrip().splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"Infer.class_names: cannot read {given}: {reason(error)}") from None
    if outputs is not None:
        check_number(names, outputs)
    return names


def check_number(names: Sequence[str], outputs: int) -> None:
    """Raises ConfigError unless the names that `Infer.class_names` gives are as many as the network's outputs."""
    if len(names) != outputs:
        raise ConfigError(f"Infer.class_names: {len(names)} names for a network with {outputs} outputs")


def predictions(
    loader: EvalLoader,
    compute: Network,
    *,
    topk: int,
    names: Sequence[str] | None,
    attention: Attention | None = None,
    check: Callable[[np.ndarray], None] = lambda images: None,
) -> Iterator[dict[str, Any]]:
    """Yields one dictionary an image of a loader, in its order.

    Args:
        loader: the images.
        compute: gives the logits [B, K] of images [B, C, H, W].
        topk: how many classes to name.
        names: class names in label order.
        attention: when given, each dictionary has its picture.
        check: raises for images that the network does not take.

    Yields:
        `index` of the image in the loader's dataset, `label`, `topk` as a list of
        {class, name, probability}, and `attention`, float [h, w] in 0..1 over the patch grid, when asked for.
    """
    for batch in loader:
        check(batch["image"])
        logits = compute(batch["image"])
        flows = attention(batch["image"]) if attention else [None] * len(logits)
        for index, label, row, flow in zip(batch["index"], batch["label"], logits, flows, strict=True):
            found = {"index": int(index), "label": int(label), "topk": best(row, topk, names)}
            yield found if attention is None else {**found, "attention": flow}


def file_loader(
    files: Sequence[str], steps: Sequence[Callable], wanted: InferSection, rank: int = 0, size: int = 1
) -> EvalLoader:
    """A process's share of image files through transforms, read ahead by threads, one for two cores: more would take from the network what they give."""
    images = FileImages(files, np.zeros(len(files), np.int64), None, 1)
    sampler = EvalBatchSampler(len(files), wanted.batch_size, rank, size)
    return EvalLoader(
        images, steps, sampler, unreadable=wanted.unreadable, threads=max(runtime.available_cores() // 2, 1)
    )


def classify_files(
    files: Sequence[str],
    loader: EvalLoader,
    found: Iterator[dict[str, Any]],
    answers: Answers,
    *,
    picture: Callable[[dict[str, Any]], str] | None = None,
    size: int = 1,
    speaks: bool = True,
) -> list[tuple[int, dict[str, Any]]]:
    """Takes what `predictions` finds in files to `answers`, and says how fast it goes.

    Args:
        files: by index.
        loader: whose images they are.
        found: of `predictions`.
        answers: where each record goes as it comes.
        picture: writes the picture of an image's attention and gives its path.
        size: processes that share the files.
        speaks: whether this one says how far it is.

    Returns:
        Index and record of every image of this process.
    """
    records = []
    for one in told(found, len(loader.stream.indices), len(files), size, speaks):
        record = {"file": files[one["index"]], "topk": one["topk"]}
        if picture is not None:
            record["rollout"] = picture(one)
        answers.add(record)
        records.append((one["index"], record))
    return records


def say_skipped(messages: Sequence[str]) -> None:
    """The files that could not be read, on standard error."""
    for message in messages:
        print(f"skipped: {shown(message)}", file=sys.stderr)

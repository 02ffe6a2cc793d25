"""The datasets that `paddle.vision.datasets` downloads."""

import hashlib
import os
from typing import Any, Literal

import numpy as np

from ppcore.data.datasets.dataset import ArrayImages, FileImages, LabelledImages
from ppcore.errors import ConfigError, DataError

_CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
_CLASSES = {"Cifar10": _CIFAR10, "MNIST": [str(d) for d in range(10)], "FashionMNIST": _FASHION}
_NUM_CLASSES = {"Cifar10": 10, "Cifar100": 100, "MNIST": 10, "FashionMNIST": 10, "Flowers": 102}
# The official names of the Flowers-102 splits in its setid.mat.
_FLOWERS_SETS = {"train": ["trnid"], "valid": ["valid"], "trainval": ["trnid", "valid"], "test": ["tstid"]}


class PaddleVision(LabelledImages):
    """CIFAR-10/100, MNIST, Fashion-MNIST or Flowers-102, downloaded by Paddle on first use.

    `load` gives uint8 RGB [H, W, 3]; MNIST and Fashion-MNIST are grey [28, 28, 1].

    Args:
        dataset: which one.
        split: `train` or `test`. Flowers also has `valid` and `trainval`: ViT fine-tunes on the 1,020 images
            of `train` (arXiv 2010.11929, B.1.1, and its authors' code), DeiT on the 2,040 of `trainval`
            (arXiv 2012.12877, Table 6).
        data_file: the archive (CIFAR, Flowers) or images file (MNIST), to read instead of
            downloading. Of archives only the published ones are opened.
        label_file: labels file; needed with `data_file` by MNIST and Flowers.
        setid_file: split file; needed with `data_file` by Flowers.

    Raises:
        DataError: the download failed (offline?), a file cannot be read, or an archive is not the published one.
        ConfigError: the split or a needed file is not given.
    """

    def __init__(
        self,
        dataset: Literal["Cifar10", "Cifar100", "MNIST", "FashionMNIST", "Flowers"],
        split: Literal["train", "valid", "trainval", "test"] = "train",
        data_file: str | None = None,
        label_file: str | None = None,
        setid_file: str | None = None,
    ):
        if dataset not in _NUM_CLASSES:
            raise ConfigError(f"PaddleVision: dataset is {dataset!r}, but must be one of {', '.join(_NUM_CLASSES)}")
        if split not in _FLOWERS_SETS or (dataset != "Flowers" and split not in ("train", "test")):
            raise ConfigError(f"PaddleVision: {dataset} has no split {split!r}")
        files = {"data_file": data_file, "label_file": label_file, "setid_file": setid_file}
        _check_files(dataset, files)
        read = {"Flowers": _flowers, "MNIST": _mnist, "FashionMNIST": _mnist}.get(dataset, _cifar)
        self._images: ArrayImages | FileImages = read(dataset, split, files)
        super().__init__(self._images.labels, _CLASSES.get(dataset), _NUM_CLASSES[dataset])

    def load(self, index: int) -> dict[str, Any]:
        return self._images.load(index)


def _check_files(dataset: str, files: dict[str, str | None]) -> None:
    given = {name for name, path in files.items() if path is not None}
    needed = {"Flowers": set(files), "MNIST": {"data_file", "label_file"}}
    needed["FashionMNIST"] = needed["MNIST"]
    if given and given != needed.get(dataset, {"data_file"}):
        want = ", ".join(sorted(needed.get(dataset, {"data_file"})))
        raise ConfigError(f"PaddleVision: {dataset} takes either no files (download) or exactly: {want}")
    for name in given:
        if not os.path.isfile(files[name]):
            raise DataError(f"PaddleVision: {name} {files[name]} does not exist")


def _open(dataset: str, downloads: bool, **arguments: Any) -> Any:
    """Constructs Paddle's dataset; whatever goes wrong becomes one line."""
    import paddle.vision.datasets  # here, because it takes seconds and sets up Paddle's threads

    try:
        return getattr(paddle.vision.datasets, dataset)(backend="pil", **arguments)
    except Exception as error:  # download, tar, pickle, struct and scipy each have their own kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "; offline? download it elsewhere and give data_file" if downloads else ""
        raise DataError(f"PaddleVision: cannot get {dataset}: {reason}{hint}") from error


def _check_archive(dataset: str, path: str) -> None:
    """Whether an archive is byte for byte the published one: Paddle runs CIFAR's pickles and unpacks Flowers' paths."""
    from paddle.vision.datasets import cifar, flowers

    sums = {"Cifar10": cifar.CIFAR10_MD5, "Cifar100": cifar.CIFAR100_MD5, "Flowers": flowers.DATA_MD5}
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != sums[dataset]:
        raise DataError(
            f"PaddleVision: {path} is not the published archive of {dataset} (MD5 {found}, not {sums[dataset]}), and "
            "another could run code or write files: convert other images to class folders"
        )


def _cifar(dataset: str, split: str, files: dict) -> ArrayImages:
    if files["data_file"] is not None:
        _check_archive(dataset, files["data_file"])
    source = _open(dataset, files["data_file"] is None, data_file=files["data_file"], mode=split)
    planes = np.stack([pixels for pixels, _ in source.data]).reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # [N, 32, 32, 3]
    return ArrayImages(images, np.array([label for _, label in source.data]), None, 0)


def _mnist(dataset: str, split: str, files: dict) -> ArrayImages:
    paths = {"image_path": files["data_file"], "label_path": files["label_file"]}
    source = _open(dataset, files["data_file"] is None, mode=split, **paths)
    images = np.stack(source.images).reshape(-1, 28, 28, 1).astype(np.uint8)
    return ArrayImages(images, np.concatenate(source.labels), None, 0)


def _flowers(dataset: str, split: str, files: dict) -> FileImages:
    from paddle.vision.datasets.flowers import MODE_FLAG_MAP

    if files["data_file"] is not None:
        _check_archive(dataset, files["data_file"])
    # Paddle's "train" mode is the official test set and the other way round; go by the set's own
    # name. Its labels count from 1.
    mode_of = {flag: mode for mode, flag in MODE_FLAG_MAP.items()}
    paths, labels = [], []
    for flag in _FLOWERS_SETS[split]:
        source = _open(dataset, files["data_file"] is None, mode=mode_of[flag], **files)
        paths += [os.path.join(source.data_path, "jpg", f"image_{number:05}.jpg") for number in source.indexes]
        labels.append(source.labels[source.indexes - 1].astype(np.int64) - 1)
    return FileImages(paths, np.concatenate(labels), None, 0)

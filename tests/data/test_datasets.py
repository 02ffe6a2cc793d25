"""Every dataset: what it holds, its fixed split, and one clear line when something is wrong."""

import gzip
import hashlib
import io
import os
import pathlib
import pickle
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ppcore.data import Cifar10Jpeg, Dataset, Digits, FileList, ImageFolder, MnistIdx, PaddleVision, check_labels
from ppcore.data.datasets.dataset import ArrayImages, PathTable, take_stratified
from ppcore.errors import ConfigError, DataError

SHARED = pathlib.Path(os.environ.get("PP_DATA_DIR") or pathlib.Path(__file__).parents[3] / "shared" / "data")


def save(path, value=0, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


def line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- folders ----


def test_image_folder(tmp_path):
    for value, name in enumerate(["b/2.png", "b/10.png", "a/x y.PNG", "a/deep/er/1.png", "c ü/1.png"]):
        save(tmp_path / name, value)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / "stray.png").write_bytes(b"")
    dataset = ImageFolder(str(tmp_path))
    assert dataset.classes == ["a", "b", "c ü"]
    assert dataset.num_classes == 3
    assert len(dataset) == 5
    found = [dataset.load(i) for i in range(5)]
    names = [os.path.relpath(sample["path"], tmp_path) for sample in found]
    assert names == ["a/x y.PNG", "a/deep/er/1.png", "b/10.png", "b/2.png", "c ü/1.png"]
    assert [sample["label"] for sample in found] == [0, 0, 1, 1, 2]
    assert [sample["image"][0, 0, 0] for sample in found] == [2, 3, 1, 0, 4]


def test_image_folder_errors(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        ImageFolder(str(tmp_path / "no"))
    with pytest.raises(DataError, match="no class folders"):
        ImageFolder(str(tmp_path))
    save(tmp_path / "a" / "1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image") as error:
        ImageFolder(str(tmp_path))
    line(error)


def test_path_table():
    paths = ["a", "", "b c/ü.png", "x" * 500, os.fsdecode(b"\xff.png")]
    table = PathTable(paths)
    assert [table[i] for i in range(len(table))] == paths
    assert len(PathTable([])) == 0


# ---- list files ----


def write_list(tmp_path, text):
    save(tmp_path / "a b.png", 7)
    save(tmp_path / "c.png", 9)
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    return {"cls_label_path": str(path), "image_root": str(tmp_path)}


def test_file_list(tmp_path):
    dataset = FileList(**write_list(tmp_path, "\ufeffa b.png 3\n\nc.png\t 0 \r\nc.png  1\n"))
    assert dataset.labels.tolist() == [3, 0, 1]
    assert dataset.num_classes == 4
    assert dataset.classes is None
    assert [dataset.load(i)["image"][0, 0, 0] for i in range(3)] == [7, 9, 9]
    assert dataset.load(0)["path"] == str(tmp_path / "a b.png")
    comma = FileList(**write_list(tmp_path, "a b.png,1\n"), delimiter=",")
    assert comma.load(0)["label"] == 1
    absolute = tmp_path / "c.png"
    assert FileList(**{**write_list(tmp_path, f"{absolute} 1\n"), "image_root": "elsewhere"}).load(0)["label"] == 1


def test_file_list_classes(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nold horse\n")
    arguments = write_list(tmp_path, "c.png 1\n")
    for value in (str(names), ["cat", "dog", "old horse"]):
        dataset = FileList(**arguments, class_names=value)
        assert dataset.classes == ["cat", "dog", "old horse"]
        assert dataset.num_classes == 3
    assert FileList(**arguments, num_classes=9).num_classes == 9
    with pytest.raises(DataError, match="num_classes is 2, but 3 class names"):
        FileList(**arguments, num_classes=2, class_names=str(names))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("c.png 1\na b.png x\n", {}, r"line 2: label 'x' is not an integer"),
        ("c.png 1.0\n", {}, r"line 1: label '1.0' is not an integer"),
        ("c.png 1\n\nc.png\n", {}, r"line 3: expected a path, a blank and a label, got 'c.png'"),
        ("c.png 1\nc.png 2\n", {"num_classes": 2}, r"line 2: label 2 is out of range, it must be within 0..1"),
        ("c.png -1\n", {}, r"line 1: label -1 is out of range, it must not be negative"),
        ("c.png 1\n", {"class_names": ["one"]}, r"line 1: label 1 is out of range, it must be within 0..0"),
        ("c.png 1\n", {"delimiter": ","}, r"line 1: expected a path, ',' and a label"),
        ("\n \n", {}, "names no image"),
        ("missing.png 1\n", {}, r"first image .*missing.png does not exist"),
    ],
)
def test_file_list_errors(tmp_path, text, options, message):
    with pytest.raises(DataError, match=message) as error:
        FileList(**write_list(tmp_path, text), **options)
    assert "list.txt" in line(error)


def test_file_list_unreadable(tmp_path):
    with pytest.raises(DataError, match=r"cannot read list file .*no.txt"):
        FileList(str(tmp_path / "no.txt"))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="no UTF-8"):
        FileList(str(tmp_path / "binary.txt"))
    with pytest.raises(DataError, match=r"cannot read list file .*names.txt"):
        FileList(**write_list(tmp_path, "c.png 0\n"), class_names=str(tmp_path / "names.txt"))


# ---- digits ----


def test_digits():
    train, test, everything = (Digits(split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (1437, 360, 1797)
    assert np.bincount(test.labels).tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    source = load_digits()
    sample = everything.load(100)
    assert sample["image"].shape == (8, 8, 3)
    assert sample["image"].dtype == np.uint8
    assert sample["path"] is None
    np.testing.assert_allclose(sample["image"][..., 1] * (16 / 255), source.images[100], atol=0.04)
    assert sample["label"] == source.target[100]
    assert everything.images.max() == 255
    assert train.classes == [str(d) for d in range(10)]
    assert train.num_classes == 10
    joined = np.concatenate([train.images, test.images]).reshape(1797, -1)
    assert sorted(map(bytes, joined)) == sorted(map(bytes, everything.images.reshape(1797, -1)))


def test_digits_limit():
    few, whole = Digits("train", limit=300), Digits("train")
    assert len(few) == 300
    counts = np.bincount([few.load(i)["label"] for i in range(300)])
    assert counts.min() >= 29
    assert counts.max() <= 31
    pool = {whole.load(i)["image"].tobytes() for i in range(len(whole))}
    assert {few.load(i)["image"].tobytes() for i in range(300)} <= pool
    with pytest.raises(ConfigError, match=r"1\.\.1437"):
        Digits("train", limit=1438)


def test_digits_size():
    assert Digits("test", image_size=24).load(0)["image"].shape == (24, 24, 3)
    with pytest.raises(ConfigError):
        Digits(image_size=0)
    with pytest.raises(ConfigError):
        Digits("valid")


# ---- CIFAR-10 JPEG ----


def test_cifar_real():
    if not (SHARED / "classification" / "cifar10_jpeg_20k_10k.npz").is_file():
        pytest.skip(f"no cifar10_jpeg_20k_10k.npz in {SHARED} (set PP_DATA_DIR)")
    train = Cifar10Jpeg(str(SHARED), "train")
    test = Cifar10Jpeg(str(SHARED), "test", limit=2000)
    assert len(train) == 20000
    assert len(test) == 2000
    assert train.num_classes == 10
    assert train.classes[3] == "cat"
    assert np.bincount(test.labels).tolist() == [200] * 10
    assert len(np.unique(test.index)) == 2000
    image = test.load(1999)["image"]
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5
    assert test.load(1999)["label"] == test.labels[1999]


@pytest.fixture
def cifar_root(tmp_path):
    buffers, ends = [], [0]
    for value in range(6):
        buffer = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), value * 40, np.uint8)).save(buffer, "JPEG")
        buffers.append(buffer.getvalue())
        ends.append(ends[-1] + len(buffers[-1]))
    parts = {
        "bytes": np.frombuffer(b"".join(buffers), np.uint8),
        "offsets": np.array(ends),
        "labels": np.arange(6, dtype=np.uint8) % 3,
    }
    (tmp_path / "classification").mkdir()
    arrays = {f"{split}_{name}": value for split in ("train", "test") for name, value in parts.items()}
    np.savez(tmp_path / "classification" / "cifar10_jpeg_20k_10k.npz", classes=np.array(["a", "b", "c"]), **arrays)
    return tmp_path


def test_cifar_file(cifar_root, monkeypatch):
    monkeypatch.setenv("PP_DATA_DIR", str(cifar_root))
    dataset = Cifar10Jpeg(split="test")
    assert [int(dataset.load(i)["image"].mean().round()) for i in range(6)] == [0, 40, 80, 120, 160, 200]
    limited = Cifar10Jpeg(limit=3)
    assert limited.labels.tolist() == [0, 1, 2]
    assert limited.classes == ["a", "b", "c"]
    for limit in (0, 7):
        with pytest.raises(ConfigError, match=r"within 1\.\.6"):
            Cifar10Jpeg(limit=limit)
    with pytest.raises(ConfigError):
        Cifar10Jpeg(split="all")


def test_cifar_errors(tmp_path, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="PP_DATA_DIR"):
        Cifar10Jpeg()
    with pytest.raises(DataError, match="no folder"):
        Cifar10Jpeg(str(tmp_path / "no"))
    with pytest.raises(DataError, match="does not exist"):
        Cifar10Jpeg(str(tmp_path))
    folder = tmp_path / "classification"
    folder.mkdir()
    (folder / "cifar10_jpeg_20k_10k.npz").write_bytes(b"broken")
    with pytest.raises(DataError, match="damaged") as error:
        Cifar10Jpeg(str(tmp_path))
    line(error)
    np.savez(folder / "cifar10_jpeg_20k_10k.npz", other=np.zeros(3))
    with pytest.raises(DataError, match="damaged or another kind"):
        Cifar10Jpeg(str(tmp_path))


def test_stratified_limit():
    labels = np.array([2, 0, 1] * 10)
    for limit in (1, 3, 7, 15, 30):
        chosen = take_stratified(labels, limit)
        assert len(np.unique(chosen)) == limit
        assert np.ptp(np.bincount(labels[chosen], minlength=3)) <= 1


# ---- MNIST ----


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + b"".join(int(n).to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def mnist_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    labels = (np.arange(200) % 10).astype(np.uint8)
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        (tmp_path / f"fake_{name.replace('train', 't10k')}").write_bytes(idx(array[::-1].copy()))
    return tmp_path, images, labels


def test_mnist_files(mnist_files):
    root, images, labels = mnist_files
    dataset = MnistIdx(str(root))
    assert len(dataset) == 200
    assert dataset.num_classes == 10
    assert dataset.load(3)["image"].shape == (28, 28, 1)
    np.testing.assert_array_equal(dataset.load(3)["image"][..., 0], images[3])
    colour = MnistIdx(str(root), "test", channels=3)  # plain files with a prefix
    np.testing.assert_array_equal(colour.load(0)["image"], np.stack([images[-1]] * 3, -1))
    assert colour.load(0)["label"] == labels[-1]


def test_mnist_errors(mnist_files):
    root, images, labels = mnist_files
    with pytest.raises(ConfigError):
        MnistIdx(str(root), channels=2)
    with pytest.raises(DataError, match="no file named like"):
        MnistIdx(str(root / ".."))
    path = root / "train-labels-idx1-ubyte.gz"
    for content, message in (
        (gzip.compress(idx(labels[:-1])), "199 labels for 200 images"),
        (gzip.compress(idx(labels)[:-1]), "truncated"),
        (gzip.compress(idx(labels))[:-30], "cannot read"),
        (gzip.compress(idx(images)), "no idx file of 1-dimensional"),
        (b"text", "cannot read"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as error:
            MnistIdx(str(root))
        assert "labels" in line(error)


def test_mnist_real():
    folder = SHARED / "classification"
    if not list(folder.glob("*t10k-images*")):
        pytest.skip(f"no MNIST test files in {folder} (set PP_DATA_DIR)")
    dataset = MnistIdx(str(folder), "test")
    assert len(dataset) == 10000
    assert dataset.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert dataset.images.mean() == pytest.approx(33.79, abs=0.01)


# ---- paddle.vision.datasets ----


def publish(monkeypatch, path: pathlib.Path, *names: str) -> None:
    """Makes an archive the published one in the eyes of Paddle's modules."""
    import paddle.vision.datasets  # noqa: F401

    for name in names:
        module, _, constant = name.partition(".")
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setattr(sys.modules[f"paddle.vision.datasets.{module}"], constant, digest)


@pytest.fixture
def cifar_archive(tmp_path, monkeypatch):
    data = np.random.default_rng(1).integers(0, 256, (7, 3072), dtype=np.uint8)
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("data_batch_1", "test_batch", "train", "test"):
            content = pickle.dumps({b"data": data, b"labels": list(range(7)), b"fine_labels": list(range(7))})
            info = tarfile.TarInfo(f"cifar/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    publish(monkeypatch, path, "cifar.CIFAR10_MD5", "cifar.CIFAR100_MD5")
    return path, data


@pytest.mark.parametrize("name", ["Cifar10", "Cifar100"])
def test_paddle_cifar(cifar_archive, name):
    path, data = cifar_archive
    dataset = PaddleVision(name, "train", data_file=str(path))
    assert len(dataset) == 7
    assert dataset.num_classes == int(name[5:])
    np.testing.assert_array_equal(dataset.load(5)["image"], data[5].reshape(3, 32, 32).transpose(1, 2, 0))
    assert dataset.load(5)["label"] == 5
    assert dataset.load(5)["image"].flags.c_contiguous


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_paddle_mnist(mnist_files, name):
    root, images, labels = mnist_files
    files = {
        "data_file": str(root / "train-images-idx3-ubyte.gz"),
        "label_file": str(root / "train-labels-idx1-ubyte.gz"),
    }
    dataset = PaddleVision(name, data_file=files["data_file"], label_file=files["label_file"])
    np.testing.assert_array_equal(dataset.load(42)["image"], images[42][..., None])
    assert len(dataset) == 200
    assert dataset.load(42)["label"] == labels[42]
    assert len(dataset.classes) == 10


def test_paddle_flowers(tmp_path, monkeypatch):
    """Official splits, though Paddle swaps train and test; labels from 0."""
    from scipy.io import savemat

    with tarfile.open(tmp_path / "102flowers.tgz", "w:gz") as tar:
        for number in range(1, 7):
            image = save(tmp_path / "tmp.jpg", number * 40)
            tar.add(image, f"jpg/image_{number:05}.jpg")
    publish(monkeypatch, tmp_path / "102flowers.tgz", "flowers.DATA_MD5")
    savemat(tmp_path / "labels.mat", {"labels": np.array([[1, 102, 3, 4, 5, 6]], np.uint8)})
    savemat(tmp_path / "setid.mat", {"trnid": [[2]], "valid": [[4, 1]], "tstid": [[3, 5, 6]]})
    files = {
        "data_file": str(tmp_path / "102flowers.tgz"),
        "label_file": str(tmp_path / "labels.mat"),
        "setid_file": str(tmp_path / "setid.mat"),
    }
    expected = {"train": [101], "valid": [3, 0], "trainval": [101, 3, 0], "test": [2, 4, 5]}
    for split, labels in expected.items():
        dataset = PaddleVision("Flowers", split, **files)
        assert dataset.labels.tolist() == labels
        assert dataset.num_classes == 102
        assert [round(dataset.load(i)["image"].mean() / 40) for i in range(len(labels))] == {
            "train": [2],
            "valid": [4, 1],
            "trainval": [2, 4, 1],
            "test": [3, 5, 6],
        }[split]


class Touch:
    """A pickle of it makes a file."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["Cifar10", "Cifar100", "Flowers"])
def test_paddle_opens_published_archives_only(tmp_path, name):
    """Paddle would run what is pickled in CIFAR's and follow the paths in Flowers'."""
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        for member in ("cifar/data_batch_1", "cifar/train", "../outside"):
            content = pickle.dumps({b"data": Touch(tmp_path / "ran"), b"labels": []})
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    files = {"data_file": str(tmp_path / "evil.tar.gz")}
    if name == "Flowers":
        files |= {"label_file": files["data_file"], "setid_file": files["data_file"]}
    with pytest.raises(DataError, match="not the published archive") as error:
        PaddleVision(name, **files)
    line(error)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path.parent / "outside").exists()


def test_paddle_errors(tmp_path, cifar_archive, monkeypatch):
    path = str(cifar_archive[0])
    for arguments in (("Imagenet",), ("Cifar10", "valid"), ("Cifar10", "all")):
        with pytest.raises(ConfigError):
            PaddleVision(*arguments)
    with pytest.raises(ConfigError, match="exactly: data_file, label_file"):
        PaddleVision("MNIST", data_file=path)
    with pytest.raises(DataError, match=r"data_file .* does not exist"):
        PaddleVision("Cifar10", data_file=str(tmp_path / "no"))
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    publish(monkeypatch, tmp_path / "bad.tar.gz", "cifar.CIFAR10_MD5")
    with pytest.raises(DataError, match="cannot get Cifar10") as error:
        PaddleVision("Cifar10", data_file=str(tmp_path / "bad.tar.gz"))
    assert "offline" not in line(error)

    def fail(*arguments, **options):
        raise RuntimeError("Cannot download https://example.org/cifar.tar.gz within retry limit 3\nmore")

    import paddle.vision.datasets  # noqa: F401

    monkeypatch.setattr(sys.modules["paddle.vision.datasets.cifar"], "_check_exists_and_download", fail)
    with pytest.raises(DataError, match=r"Cannot download .*; offline\? .* data_file") as error:
        PaddleVision("Cifar10")
    line(error)


# ---- labels against a model ----


def test_check_labels(tmp_path):
    dataset = FileList(**write_list(tmp_path, "c.png 1\na b.png 3\n"))
    check_labels(dataset, 4)
    check_labels(dataset, 1000)
    with pytest.raises(
        DataError, match=r"label 3 of .*a b.png is out of range .* 3 outputs \(1 of 2 images\)"
    ) as error:
        check_labels(dataset, 3)
    line(error)
    with pytest.raises(DataError, match="label -1 of image 1"):
        check_labels(ArrayImages(np.zeros((2, 4, 4, 3), np.uint8), [0, -1], None, 2), 10)

    class NoList(Dataset):
        num_classes = 5

    check_labels(NoList(), 5)
    with pytest.raises(DataError, match="5 classes but the model has 4"):
        check_labels(NoList(), 4)

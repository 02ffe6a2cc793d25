"""200 photographs of odd sizes and kinds through a tiny network: each gives a result or one clear line."""

import io

import cv2
import numpy as np
import paddle
import pytest
import tifffile
from PIL import Image

import ppuhdfour
from ppcore.config import InferSection
from ppcore.deploy import networks
from ppcore.engine import enhance_files
from ppcore.photo import output_paths
from ppcore.photo.photo_io import read_photograph

KINDS = {
    "jpeg": (".jpg", 8, 3), "jpeg grey": (".jpg", 8, 1), "jpeg cmyk": (".jpg", 8, 3), "png": (".png", 8, 3),
    "png grey": (".png", 8, 1), "png rgba": (".png", 8, 3), "png palette": (".png", 8, 3), "png 16": (".png", 16, 3),
    "png 16 grey": (".png", 16, 1), "png 16 rgba": (".png", 16, 3), "tiff": (".tif", 8, 3), "tiff 16": (".tif", 16, 3),
    "tiff 16 grey": (".tif", 16, 1), "webp": (".webp", 8, 3), "bmp": (".bmp", 8, 3),
}  # fmt: skip


def encoded(kind, height, width, rng):
    """A file of a kind, of random pixels, one in four with an EXIF orientation where there is EXIF."""
    deep = rng.integers(0, 65536, (height, width, 4)).astype(np.uint16)
    image = Image.fromarray((deep[:, :, :3] >> 8).astype(np.uint8))
    if "16" in kind:
        pixels = deep[:, :, 0] if "grey" in kind else deep[:, :, : 4 if "rgba" in kind else 3]
        if kind.startswith("png"):
            return cv2.imencode(".png", pixels)[1].tobytes()
        buffer = io.BytesIO()
        compression = ["zlib", None][rng.integers(2)]
        tifffile.imwrite(buffer, pixels, photometric="minisblack" if "grey" in kind else "rgb", compression=compression)
        return buffer.getvalue()
    options = {}
    if kind.startswith("jpeg") and rng.integers(4) == 0:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = int(rng.integers(0, 10))  # 0 and 9 mean nothing
    if "grey" in kind:
        image = image.convert("L")
    elif "cmyk" in kind:
        image = image.convert("CMYK")
    elif "rgba" in kind:
        image.putalpha(image.getchannel(0))
    elif "palette" in kind:
        image = image.quantize(7)
    buffer = io.BytesIO()
    image.save(buffer, kind.split()[0], **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def network():
    paddle.seed(0)
    model = ppuhdfour.UHDFour(scale=2, extract=2, widths=[4, 4, 4], fusion=4)
    model.eval()
    return model


@pytest.mark.parametrize("part", range(4))
def test_200_photographs(part, network, tmp_path, capsys):
    rng = np.random.default_rng(part)
    kinds, sizes, cut = {}, {}, set()
    (tmp_path / "in").mkdir()
    for number in range(50):
        kind = sorted(KINDS)[rng.integers(len(KINDS))]
        height, width = (int(size) for size in rng.integers(1, 301, 2) // rng.choice([1, 1, 40], 2) + 1)
        data = encoded(kind, height, width, rng)
        name = f"{number:03d}{KINDS[kind][0]}"
        if rng.integers(8) == 0:
            data = data[: int(len(data) * rng.random() * 0.98)]
            cut.add(name)
        (tmp_path / "in" / name).write_bytes(data)
        kinds[name], sizes[name] = kind, (height, width)
    wanted = InferSection(tile=[None, 16, 64, 100][part], engine="eager")
    jobs = output_paths.plan(str(tmp_path / "in"), tmp_path / "out")
    compute = networks.network(network, wanted, "cpu", tmp_path)
    records = enhance_files.enhance_files(compute, jobs, tmp_path / "out", wanted, "tiny")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert len(records) == 50 - len(cut)
    assert len(lines) == len(cut) > 0
    assert all(any(name in line for line in lines) for name in cut)
    for record in records:
        name = record["output"]
        before, after = read_photograph(tmp_path / "in" / name), read_photograph(tmp_path / "out" / name)
        _, bits, channels = KINDS[kinds[name]]
        assert sorted(after.pixels.shape[:2]) == sorted(sizes[name])
        assert after.pixels.shape == before.pixels.shape
        assert (after.bits, after.pixels.shape[2], after.format) == (bits, channels, before.format)
        assert after.orientation == before.orientation
        assert (after.alpha is None) == ("rgba" not in kinds[name])
        if after.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha)

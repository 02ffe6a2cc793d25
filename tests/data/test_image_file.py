"""Windows of image files equal those of the decoded image, in every format; damage is one clear line."""

import os
import tracemalloc

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcore.data import ImageFile, read_image
from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError, DataError, UnreadableImage

RNG = np.random.default_rng(0)
H, W = 45, 38
RGB = RNG.integers(0, 256, (H, W, 3)).astype(np.uint8)
RGB16 = RNG.integers(0, 65536, (H, W, 3)).astype(np.uint16)
GREY, GREY16 = RGB[:, :, 0], RGB16[:, :, 0]
RGBA, RGBA16 = np.dstack([RGB, GREY]), np.dstack([RGB16, GREY16])


def pnm(pixels, header):
    return header + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()


def pillow(pixels, **options):
    return lambda path: Image.fromarray(pixels).save(path, **options)


def tiff(pixels, **options):
    return lambda path: tifffile.imwrite(path, pixels, **options)


def opencv(pixels):
    flipped = cv2.cvtColor(pixels, {2: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR}[pixels.ndim])
    return lambda path: cv2.imwrite(path, flipped)


def raw(data):
    def write(path):
        with open(path, "wb") as file:
            file.write(data)

    return write


def top_down_bmp():
    rows = np.pad(RGB[:, :, ::-1].reshape(H, W * 3), ((0, 0), (0, -W * 3 % 4)))
    numbers = (14 + 40 + rows.size, 0, 54, 40, W, -H)
    header = b"BM" + b"".join(n.to_bytes(4, "little", signed=True) for n in numbers)
    return header + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24) + rows.tobytes()


EXACT = {
    "rgb.png": (pillow(RGB), RGB),
    "grey.png": (pillow(GREY), GREY),
    "rgba.png": (pillow(RGBA), RGB),
    "rgb16.png": (opencv(RGB16), RGB16),
    "grey16.png": (pillow(GREY16), GREY16),
    "rgb.bmp": (pillow(RGB), RGB),
    "grey.bmp": (pillow(GREY), GREY),
    "topdown.bmp": (raw(top_down_bmp()), RGB),
    "lossless.webp": (pillow(RGB, lossless=True), RGB),
    "rgb.ppm": (pillow(RGB), RGB),
    "grey.pgm": (pillow(GREY), GREY),
    "comment.ppm": (raw(pnm(RGB, b"P6\n# by hand\n%d %d\n255\n" % (W, H))), RGB),
    "rgb16.ppm": (raw(pnm(RGB16, b"P6 %d %d 65535\n" % (W, H))), RGB16),
    "grey16.pgm": (raw(pnm(GREY16, b"P5 %d %d 65535\n" % (W, H))), GREY16),
    "rgb.tif": (tiff(RGB, photometric="rgb"), RGB),
    "grey.tif": (tiff(GREY), GREY),
    "rgba.tif": (tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), RGB),
    "rgb16.tif": (tiff(RGB16, photometric="rgb"), RGB16),
    "big16.tif": (tiff(RGB16, photometric="rgb", byteorder=">"), RGB16),
    "big.tif": (tiff(RGB, photometric="rgb", bigtiff=True), RGB),
    "strips.tif": (tiff(RGB, photometric="rgb", rowsperstrip=7, compression="zlib"), RGB),
    "strips16.tif": (tiff(RGB16, photometric="rgb", rowsperstrip=7, compression="zlib", predictor=True), RGB16),
    "tiles.tif": (tiff(RGB, photometric="rgb", tile=(16, 32), compression="zlib", predictor=True), RGB),
    "plain_tiles.tif": (tiff(RGB, photometric="rgb", tile=(16, 16)), RGB),
    "grey_strips.tif": (tiff(GREY16, rowsperstrip=4, compression="zlib"), GREY16),
    "alpha_strips.tif": (
        tiff(RGBA16, photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=4, compression="zlib"),
        RGB16,
    ),
    "white_is_zero.tif": (tiff(255 - GREY, photometric="miniswhite"), GREY),
    "planar.tif": (tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB),
    "lzw.tif": (pillow(RGB, compression="tiff_lzw"), RGB),
    "lzw_strips.tif": (tiff(RGB, photometric="rgb", rowsperstrip=7, compression="lzw"), RGB),
    "lzw16_tiles.tif": (tiff(RGB16, photometric="rgb", tile=(16, 32), compression="lzw", predictor=True), RGB16),
    "packbits16.tif": (tiff(RGB16, photometric="rgb", compression="packbits"), RGB16),
    "white_is_zero16.tif": (tiff(65535 - GREY16, photometric="miniswhite", compression="lzw"), GREY16),
    "turned.tif": (tiff(RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)]), RGB),
    "turned_strips.tif": (
        tiff(RGB, photometric="rgb", rowsperstrip=7, compression="zlib", extratags=[(274, 3, 1, 8, True)]),
        RGB,
    ),
    "turned_lzw.tif": (pillow(RGB, compression="tiff_lzw", tiffinfo={274: 6}), RGB),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, (write, _) in EXACT.items():
        write(str(folder / name))
    return folder


@pytest.mark.parametrize("name", EXACT)
def test_every_format(files, name):
    want = EXACT[name][1]
    want = want if want.ndim == 3 else np.repeat(want[:, :, None], 3, axis=2)
    image = ImageFile(files / name)
    assert image.shape == (H, W)
    assert image.bits == want.dtype.itemsize * 8
    for window in (None, (0, 0, 1, 1), (H - 1, W - 1, 1, 1), (3, 5, 20, 9), (13, 0, 32, W)):
        top, left, height, width = window or (0, 0, H, W)
        got = image.read(window)
        assert got.dtype == want.dtype
        assert all((got.flags.c_contiguous, got.flags.writeable, got.flags.owndata))
        np.testing.assert_array_equal(got, want[top : top + height, left : left + width], err_msg=f"{name} {window}")


@settings(max_examples=60)
@given(st.data())
def test_any_window(files, data):
    name = data.draw(
        st.sampled_from(["tiles.tif", "strips16.tif", "lzw16_tiles.tif", "rgb.bmp", "rgb16.ppm", "plain_tiles.tif"])
    )
    top, left = data.draw(st.integers(0, H - 1)), data.draw(st.integers(0, W - 1))
    height, width = data.draw(st.integers(1, H - top)), data.draw(st.integers(1, W - left))
    got = ImageFile(files / name).read((top, left, height, width))
    np.testing.assert_array_equal(got, EXACT[name][1][top : top + height, left : left + width])


def test_jpeg_pixels_are_those_stored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("RGB", "L", "CMYK"):
        path = tmp_path / f"{mode}.jpg"
        Image.fromarray(RGB).convert(mode).save(path, quality=90, exif=exif)
        image = ImageFile(path)
        assert image.shape == (H, W)
        np.testing.assert_array_equal(image.read((1, 2, 30, 31)), read_image(path)[1:31, 2:33])


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, H + 1, 2), (0, W, 1, 1), (0, 0, 0, 3)])
def test_window_outside(files, window):
    with pytest.raises(ConfigError, match=r"is not inside .*rgb.png of 45x38 pixels"):
        ImageFile(files / "rgb.png").read(window)


def test_pixels_of(files):
    np.testing.assert_array_equal(pixels_of(RGB, (1, 2, 3, 4)), RGB[1:4, 2:6])
    assert pixels_of(RGB) is RGB
    np.testing.assert_array_equal(pixels_of(ImageFile(files / "rgb.png"), (1, 2, 3, 4)), RGB[1:4, 2:6])


# ---- damage ----


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("missing.png", None, "No such file"),
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"hello", "not an image"),
        ("cut.tif", b"II*\0\x08\0\0\0", "not a TIFF file that can be used"),
        ("deep.ppm", b"P6 2 2 1023\n" + bytes(24), "values up to 1023"),
        ("deep.pgm", b"P2 1 1 999\n7\n", "values up to 999"),
    ],
)
def test_bad_headers(tmp_path, name, data, reason):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=reason) as error:
        ImageFile(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="Is a directory"):
        ImageFile(tmp_path)


def test_float_tiff_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "float.tif", RGB.astype(np.float32), photometric="rgb")
    with pytest.raises(DataError, match="32-bit samples"):
        ImageFile(tmp_path / "float.tif")


def read_or_reason(path):
    try:
        return ImageFile(path).read()
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", EXACT)
def test_truncated(files, tmp_path, name):
    """Every cut is named, or (in an ignored tail) harmless; never another exception, never a silent grey."""
    data = (files / name).read_bytes()
    for length in (len(data) * 3 // 4, len(data) - 40):
        path = tmp_path / f"{length}{os.path.splitext(name)[1]}"
        path.write_bytes(data[:length])
        got = read_or_reason(path)
        if isinstance(got, str):
            assert "\n" not in got
            assert str(path) in got
        else:
            np.testing.assert_array_equal(got, ImageFile(files / name).read())


@pytest.mark.parametrize("name", EXACT)
def test_damaged_bytes(files, tmp_path, name):
    """Short beginnings and changed bytes: pixels or one line, never another exception."""
    data = (files / name).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [data[:length] for length in range(0, 60, 3)]
    for _ in range(20):
        changed = bytearray(data)
        changed[rng.integers(min(len(data), 400))] = rng.integers(256)
        damaged.append(bytes(changed))
    path = tmp_path / name
    for content in damaged:
        path.write_bytes(content)
        got = read_or_reason(path)
        assert "\n" not in got if isinstance(got, str) else got.shape[2] == 3


def test_a_damaged_strip_is_unreadable(files, tmp_path):
    data = bytearray((files / "strips.tif").read_bytes())
    with tifffile.TiffFile(files / "strips.tif") as file:
        offset = file.pages[0].dataoffsets[3]
    data[offset : offset + 40] = bytes(40)
    path = tmp_path / "damaged.tif"
    path.write_bytes(bytes(data))
    image = ImageFile(path)
    np.testing.assert_array_equal(image.read((0, 0, 21, W)), RGB[:21])  # the first three strips are whole
    with pytest.raises(UnreadableImage, match=r"damaged\.tif"):
        image.read((20, 0, 2, 2))


# ---- memory and cache ----


@pytest.mark.parametrize("kind", ["ppm", "bmp", "tif", "zip.tif"])
def test_a_window_costs_its_own_size(tmp_path, kind):
    big = np.zeros((2000, 1500, 3), np.uint8)  # 9 MB
    big[777:787, 500:600] = 9
    path = str(tmp_path / f"big.{kind}")
    if kind == "zip.tif":
        tifffile.imwrite(path, big, photometric="rgb", rowsperstrip=16, compression="zlib")
    else:
        Image.fromarray(big).save(path)
    image = ImageFile(path)
    tracemalloc.start()
    window = image.read((770, 490, 40, 120))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(window, big[770:810, 490:610])
    assert peak < 1_000_000


def test_cache(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.png", tmp_path / "cache" / "deep"
    Image.fromarray(RGB).save(path)
    np.testing.assert_array_equal(ImageFile(path, cache).read((1, 2, 3, 4)), RGB[1:4, 2:6])
    assert [entry.suffix for entry in cache.iterdir()] == [".npy"]

    import ppcore.data.images.image_file as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_image", lambda path: pytest.fail("decoded again"))
        np.testing.assert_array_equal(ImageFile(path, cache).read(), RGB)

    Image.fromarray(255 - RGB).save(path)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(ImageFile(path, cache).read(), 255 - RGB)
    assert len(list(cache.iterdir())) == 2


def test_cache_errors(tmp_path):
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    Image.fromarray(RGB).save(path)
    ImageFile(path, cache).read()
    (entry,) = cache.iterdir()
    entry.write_bytes(entry.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cannot use the cache .*empty it or set cache: null"):
        ImageFile(path, cache).read()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot use the cache"):
        ImageFile(path, tmp_path / "file").read()


def test_nothing_half_written_stays(tmp_path):
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot decode"):
        ImageFile(path, cache).read()
    assert not cache.exists() or not list(cache.iterdir())

"""Decoding equals Pillow's; damage is named."""

import io
import os
import pathlib
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcore.data import decode_image, read_image
from ppcore.data.images.decode import _complete_plain_jpeg, _complete_rgb_png
from ppcore.errors import DataError


def photo(height=90, width=120):
    """A smooth picture with noise: compresses like a photograph."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    planes = [np.sin(x / 9 + c) * 60 + np.cos(y / 7 - c) * 50 + 128 for c in range(3)]
    return np.clip(np.stack(planes, -1) + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(data):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


RGB = Image.fromarray(photo())
EXIF = Image.Exif()
EXIF[0x0112] = 6  # "rotate by 90 degrees to show"
KINDS = {
    "jpeg": encoded(RGB, "JPEG", quality=90),
    "jpeg444": encoded(RGB, "JPEG", quality=95, subsampling=0),
    "jpeg progressive": encoded(RGB, "JPEG", progressive=True),
    "jpeg grey": encoded(RGB.convert("L"), "JPEG"),
    "jpeg cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "jpeg rotated by exif": encoded(RGB, "JPEG", exif=EXIF),
    "jpeg with a tail": encoded(RGB, "JPEG") + b"\0" * 9 + b"tail",
    "png": encoded(RGB, "PNG"),
    "png grey": encoded(RGB.convert("L"), "PNG"),
    "png rgba": encoded(Image.fromarray(np.dstack([photo(), photo()[:, :, 0]])), "PNG"),
    "png grey alpha": encoded(RGB.convert("LA"), "PNG"),
    "png palette": encoded(RGB.quantize(64), "PNG"),
    "png palette transparent": encoded(RGB.quantize(64), "PNG", transparency=bytes(range(64))),
    "png rgb transparent": encoded(RGB, "PNG", transparency=(1, 2, 3)),
    "png one bit": encoded(RGB.convert("1"), "PNG"),
    "bmp": encoded(RGB, "BMP"),
    "webp": encoded(RGB, "WEBP"),
    "gif": encoded(RGB, "GIF"),
    "tiff": encoded(RGB, "TIFF"),
    "png 16 bit rgb": cv2.imencode(".png", photo().astype(np.uint16) * 256 + 77)[1].tobytes(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_equal_pillow(kind):
    image = decode_image(KINDS[kind], kind)
    assert image.dtype == np.uint8
    assert image.shape == (90, 120, 3)
    np.testing.assert_array_equal(image, by_pillow(KINDS[kind]))


def test_opencv_takes_the_common_kinds():
    assert all(_complete_plain_jpeg(data) for kind, data in KINDS.items() if "jpeg" in kind and "cmyk" not in kind)
    assert not _complete_plain_jpeg(KINDS["jpeg cmyk"])
    assert [kind for kind, data in KINDS.items() if _complete_rgb_png(data)] == ["png"]


def test_16_bit_grey_keeps_its_picture():
    grey = np.arange(256 * 64, dtype=np.uint16).reshape(128, 128) * 4
    image = decode_image(encoded(Image.fromarray(grey), "PNG"), "x")
    np.testing.assert_array_equal(image, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, -1))


@pytest.mark.parametrize(
    "kind", ["jpeg", "jpeg progressive", "jpeg grey", "jpeg cmyk", "png", "png palette", "webp", "tiff"]
)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.97])
def test_truncated_files_are_errors(kind, share):
    data = KINDS[kind]
    with pytest.raises(DataError, match="cannot decode image some/file") as error:
        decode_image(data[: int(len(data) * share)], "some/file")
    assert "\n" not in str(error.value)


def test_truncation_that_opencv_lets_pass(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(KINDS["jpeg"][: len(KINDS["jpeg"]) // 2])
    assert cv2.imread(str(path)) is not None
    assert not _complete_plain_jpeg(path.read_bytes())
    with pytest.raises(DataError, match="truncated"):
        read_image(path)


def test_truncated_jpeg_with_a_whole_thumbnail():
    """The thumbnail's end marker must not pass for the picture's."""
    thumbnail = encoded(RGB.resize((32, 24)), "JPEG")
    data = KINDS["jpeg"][:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + KINDS["jpeg"][2:]
    np.testing.assert_array_equal(decode_image(data, "x"), by_pillow(KINDS["jpeg"]))
    with pytest.raises(DataError):
        decode_image(data[:-400], "x")


@settings(max_examples=150)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_damage_gives_an_image_or_one_clear_line(kind, draw):
    data = bytearray(KINDS[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    image, message = None, ""
    try:
        image = decode_image(bytes(data), "f")
    except DataError as error:
        message = str(error)
    if image is None:
        assert "cannot decode image f" in message
        assert "\n" not in message
    else:
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)


def test_files(tmp_path):
    (tmp_path / "ü b.jpg").write_bytes(KINDS["jpeg"])
    np.testing.assert_array_equal(read_image(tmp_path / "ü b.jpg"), by_pillow(KINDS["jpeg"]))
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, reason in (
        ("no.jpg", "No such file"),
        ("text.jpg", "not an image"),
        ("empty.jpg", "empty"),
        ("", "directory"),
    ):
        with pytest.raises(DataError, match=reason) as error:
            read_image(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_real_jpegs_equal_pillow_exactly():
    root = pathlib.Path(os.environ.get("PP_DATA_DIR") or pathlib.Path(__file__).parents[3] / "shared" / "data")
    files = sorted((root / "imagenet_sample").glob("*.jpg"))[::10]
    if not files:
        pytest.skip(f"no imagenet_sample in {root} (set PP_DATA_DIR)")
    for path in files:
        np.testing.assert_array_equal(read_image(path), by_pillow(path.read_bytes()))

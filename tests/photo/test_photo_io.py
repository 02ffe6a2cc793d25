"""Photographs come back from a read and a write as they were, in every format."""

import errno
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from ppcore.data.images.orientation import stored, upright
from ppcore.errors import DataError
from ppcore.photo.exif import exif_without_thumbnail
from ppcore.photo.jpeg import jpeg_metadata
from ppcore.photo.photo_io import encode_photograph, photo_header, read_photograph, write_file

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
RGB16 = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
ALPHA, ALPHA16 = RGB[:, :, 1], RGB16[:, :, 1]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pillow(array, kind, **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png16(array, colour_type, extra=b""):
    """A 16-bit PNG of our own making, so that neither library reads what it wrote itself."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(orientation=1, thumbnail=b""):
    """EXIF with an orientation, a maker, and a second directory that leads to a thumbnail."""
    found = Image.Exif()
    found[0x0112], found[0x010F] = orientation, "Maker"
    data = found.tobytes()
    if not thumbnail:
        return data
    start, order = 6, ">" if data[6:8] == b"MM" else "<"
    directory = start + struct.unpack_from(order + "I", data, start + 4)[0]
    link = directory + 2 + 12 * struct.unpack_from(order + "H", data, directory)[0]
    second = len(data) - start
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, second + 2 + 36 + 4), (0x0202, 4, 1, len(thumbnail))]
    body = struct.pack(order + "H", 3)
    for code, kind, count, value in entries:
        packed = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
        body += struct.pack(order + "HHI", code, kind, count) + packed
    data = data[:link] + struct.pack(order + "I", second) + data[link + 4 :]
    return data + body + bytes(4) + thumbnail


def read(tmp_path, data, name="photo"):
    (tmp_path / name).write_bytes(data)
    return read_photograph(tmp_path / name)


def again(photo, **options):
    """The photograph's file after its colours have gone through a network that changes nothing."""
    return encode_photograph(photo.with_rgb(np.array(photo.rgb())), **options)


LOSSLESS = {
    "png": (pillow(RGB, "PNG"), RGB, None),
    "png grey": (pillow(RGB[:, :, 0], "PNG"), RGB[:, :, :1], None),
    "png rgba": (pillow(np.dstack([RGB, ALPHA]), "PNG"), RGB, ALPHA),
    "png grey alpha": (pillow(np.ascontiguousarray(RGB[:, :, :2]), "PNG"), RGB[:, :, :1], ALPHA),
    "png 16": (png16(RGB16, 2), RGB16, None),
    "png 16 grey": (png16(RGB16[:, :, 0], 0), RGB16[:, :, :1], None),
    "png 16 rgba": (png16(np.dstack([RGB16, ALPHA16]), 6), RGB16, ALPHA16),
    "png 16 grey alpha": (png16(RGB16[:, :, :2], 4), RGB16[:, :, :1], ALPHA16),
    "tiff": (tiff(RGB, photometric="rgb"), RGB, None),
    "tiff lzw": (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB, None),
    "tiff grey": (tiff(RGB[:, :, 0], photometric="minisblack"), RGB[:, :, :1], None),
    "tiff 16": (tiff(RGB16, photometric="rgb"), RGB16, None),
    "tiff 16 deflate": (tiff(RGB16, photometric="rgb", compression="zlib", predictor=True), RGB16, None),
    "tiff 16 big endian tiles": (tiff(RGB16, photometric="rgb", byteorder=">", tile=(16, 16)), RGB16, None),
    "tiff 16 planes": (
        tiff(RGB16.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
        RGB16,
        None,
    ),
    "tiff 16 lzw": (cv2.imencode(".tiff", RGB16[:, :, ::-1])[1].tobytes(), RGB16, None),
    "tiff 16 lzw planes": (
        tiff(RGB16.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", compression="lzw"),
        RGB16,
        None,
    ),
    "tiff 16 packbits": (tiff(RGB16, photometric="rgb", compression="packbits"), RGB16, None),
    "tiff 16 grey": (tiff(RGB16[:, :, 0], photometric="minisblack"), RGB16[:, :, :1], None),
    "tiff 16 white is zero": (tiff(65535 - RGB16[:, :, 0], photometric="miniswhite"), RGB16[:, :, :1], None),
    "tiff 16 rgba": (
        tiff(np.dstack([RGB16, ALPHA16]), photometric="rgb", extrasamples=["unassalpha"]),
        RGB16,
        ALPHA16,
    ),
    "webp": (pillow(RGB, "WEBP", lossless=True), RGB, None),
    "bmp": (pillow(RGB, "BMP"), RGB, None),
    "ppm": (pillow(RGB, "PPM"), RGB, None),
    "pgm": (pillow(RGB[:, :, 0], "PPM"), RGB[:, :, :1], None),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_pixels_depth_and_alpha_survive(kind, tmp_path):
    data, pixels, alpha = LOSSLESS[kind]
    photo = read(tmp_path, data)
    assert photo.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(photo.pixels, pixels)
    if alpha is None:
        assert photo.alpha is None
    else:
        np.testing.assert_array_equal(photo.alpha, alpha)
    written = read(tmp_path, again(photo), "written")
    assert (written.format, written.pixels.dtype, written.notes) == (photo.format, photo.pixels.dtype, [])
    if kind == "png 16 grey alpha":  # OpenCV writes no such file: it becomes RGB with alpha
        pixels = np.repeat(pixels, 3, axis=2)
    np.testing.assert_array_equal(written.pixels, pixels)
    np.testing.assert_array_equal(written.alpha, alpha)


def test_png_bit_depth_by_the_header(tmp_path):
    written = again(read(tmp_path, LOSSLESS["png 16"][0]))
    assert written[24:26] == b"\x10\x02"
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(written, np.uint8), -1)[:, :, ::-1], RGB16)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_and_profile(kind, orientation, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "TIFF":
        options = {"compression": "tiff_lzw"}
    before = pillow(RGB, kind, exif=exif(orientation), icc_profile=PROFILE, **options)
    photo = read(tmp_path, before)
    seen = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(before))))
    np.testing.assert_array_equal(photo.pixels, seen)
    after = again(photo, quality=100)
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        assert (new.format, new.size, new.mode) == (old.format, old.size, old.mode)
        assert new.info["icc_profile"] == PROFILE
        if kind != "TIFF":  # Pillow turns a TIFF and drops the tag
            assert new.getexif()[0x0112] == orientation
            assert new.getexif()[0x010F] == "Maker"
        shown = np.asarray(ImageOps.exif_transpose(new))
    assert np.abs(shown.astype(int) - seen).max() <= (8 if kind == "JPEG" else 0)
    if kind == "TIFF":
        with tifffile.TiffFile(io.BytesIO(after)) as file:
            assert file.pages[0].tags[274].value == orientation
            assert file.pages[0].tags[271].value == "Maker"


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_tiff(orientation, compression, tmp_path):
    data = tiff(RGB16, photometric="rgb", extratags=[(274, "H", 1, orientation, True)], iccprofile=PROFILE)
    if compression == "lzw":  # OpenCV writes LZW but no tag: one of the tags it does write becomes it
        data = bytearray(cv2.imencode(".tiff", RGB16[:, :, ::-1])[1].tobytes())
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            tag = next(t for t in file.pages[0].tags if t.code in (274, 284))
            if tag.code == 284:
                struct.pack_into("<H", data, tag.offset, 274)
            struct.pack_into("<H", data, tag.valueoffset, orientation)
        data = bytes(data)
    photo = read(tmp_path, data)
    np.testing.assert_array_equal(photo.pixels, upright(RGB16, orientation))
    with tifffile.TiffFile(io.BytesIO(again(photo))) as file:
        page = file.pages[0]
        assert page.tags[274].value == orientation
        assert page.bitspersample == 16
        assert (34675 in page.tags) == (compression is None)
        np.testing.assert_array_equal(page.asarray(), RGB16)


def test_orientation_numbers_mean_what_pillow_says():
    for orientation in range(1, 9):
        with Image.open(io.BytesIO(pillow(RGB, "PNG", exif=exif(orientation)))) as image:
            np.testing.assert_array_equal(upright(RGB, orientation), np.asarray(ImageOps.exif_transpose(image)))
        np.testing.assert_array_equal(stored(upright(RGB, orientation), orientation), RGB)


def test_deflate_under_its_old_number_and_a_missing_strip(tmp_path):
    data = bytearray(tiff(RGB16, photometric="rgb", compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = file.pages[0].tags
        compression, counts = tags[259].valueoffset, tags[279].valueoffset
    struct.pack_into("<H", data, compression, 32946)
    np.testing.assert_array_equal(read(tmp_path, bytes(data)).pixels, RGB16)
    struct.pack_into("<I", data, counts, 0)
    with pytest.raises(DataError, match=r"cannot decode image .*a strip or tile is missing"):
        read(tmp_path, bytes(data))


def test_old_thumbnail_is_cut_off(tmp_path):
    small = pillow(RGB[:8, :8], "JPEG")
    block = exif(6, small)
    plain = exif(6)
    assert block[: len(plain)] != plain
    assert exif_without_thumbnail(block) == plain + block[len(plain) :]
    for kind in ("JPEG", "PNG", "WEBP"):
        with Image.open(io.BytesIO(again(read(tmp_path, pillow(RGB, kind, exif=block))))) as image:
            assert image.info["exif"].removeprefix(b"Exif\0\0") == exif_without_thumbnail(block)[6:]
            assert image.getexif()[0x0112] == 6
    for cut in range(len(block)):
        assert len(exif_without_thumbnail(block[:cut])) == cut


def test_texts_xmp_iptc_and_density(tmp_path):
    xmp, iptc = b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta/>", b"Photoshop 3.0\x008BIM"
    segments = b"".join(
        b"\xff" + bytes([code]) + (len(text) + 2).to_bytes(2, "big") + text
        for code, text in ((0xE1, xmp), (0xED, iptc), (0xFE, b"a comment"), (0xE2, b"MPF\x00offsets"))
    )
    data = pillow(RGB, "JPEG", dpi=(300, 300))
    written = again(read(tmp_path, data[:20] + segments + data[20:]))
    kept = jpeg_metadata(written)
    assert xmp in kept
    assert iptc in kept
    assert b"a comment" in kept
    assert b"MPF" not in written  # offsets of pictures that are no longer there
    assert Image.open(io.BytesIO(written)).info["dpi"] == (300, 300)
    extra = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    extra += chunk(b"tEXt", b"Title\0night") + chunk(b"sBIT", b"\x08\x08\x08")
    written = again(read(tmp_path, png16(RGB16, 2, extra)))
    assert extra[: extra.index(b"sBIT") - 4] in written
    assert b"sBIT" not in written
    texts = {"description": "dusk", "datetime": "2020:01:02 03:04:05", "metadata": None}
    data = tiff(RGB16, photometric="rgb", resolution=(300, 300), **texts)
    with tifffile.TiffFile(io.BytesIO(again(read(tmp_path, data)))) as file:
        page = file.pages[0]
        assert (page.description, page.tags[306].value) == ("dusk", "2020:01:02 03:04:05")
        assert page.get_resolution() == (300, 300)


def test_odd_kinds(tmp_path):
    """Palettes become RGB, CMYK becomes RGB without its profile, one GIF picture becomes a PNG."""
    picture = Image.fromarray(RGB)
    photo = read(tmp_path, pillow(picture.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))))
    assert photo.pixels.shape == (20, 30, 3)
    assert photo.alpha.min() < 255
    photo = read(tmp_path, pillow(picture.convert("CMYK"), "JPEG", icc_profile=PROFILE))
    assert photo.notes == ["CMYK converted to RGB"]
    with Image.open(io.BytesIO(again(photo))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (30, 20))
        assert "icc_profile" not in image.info
    photo = read(tmp_path, pillow(picture, "GIF"))
    assert (photo.format, photo.notes) == ("PNG", ["GIF written as PNG"])
    assert photo_header(tmp_path / "photo") == ("PNG", 20, 30)
    transparent = struct.pack(">HHH", *RGB16[0, 0])
    assert read(tmp_path, png16(RGB16, 2, chunk(b"tRNS", transparent))).alpha[0, 0] == 0
    transparent = struct.pack(">H", RGB16[0, 0, 0])
    assert read(tmp_path, png16(RGB16[:, :, 0], 0, chunk(b"tRNS", transparent))).alpha[0, 0] == 0
    first, second = io.BytesIO(), Image.fromarray(RGB[::2, ::2])
    picture.save(first, "MPO", save_all=True, append_images=[second])
    photo = read(tmp_path, first.getvalue())
    assert (photo.format, photo.notes) == ("JPEG", ["pictures behind the first left out: 1"])
    assert photo.pixels.shape == (20, 30, 3)


def test_what_a_tiff_loses_is_said(tmp_path):
    for pixels in (RGB, RGB16):
        data = bytearray(tiff(pixels, photometric="rgb", extratags=[(65000, 1, 8, b"8BIM8BIM", True)]))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            struct.pack_into("<H", data, file.pages[0].tags[65000].offset, 37724)  # tifffile writes no such tag
        photo = read(tmp_path, bytes(data))
        assert photo.notes == ["layers of the TIFF left out"]
        assert read(tmp_path, again(photo)).notes == []


def pages(*subfile_types):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for kind in subfile_types:
            writer.write(RGB[:: 1 + kind, :: 1 + kind].copy(), photometric="rgb", subfiletype=kind)
    return buffer.getvalue()


def test_a_preview_behind_the_photograph_is_no_second_page(tmp_path):
    assert read(tmp_path, pages(0, 1)).pixels.shape == (20, 30, 3)


ANIMATION = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
REFUSED = {
    "several pages": (pages(0, 0), "has 2 pages"),
    "raw preview": (pages(1, 0), "preview"),
    "animated gif": (pillow(RGB, "GIF", **ANIMATION), "animation of 2"),
    "animated png": (pillow(RGB, "PNG", **ANIMATION), "animation of 2"),
    "animated webp": (pillow(RGB, "WEBP", **ANIMATION), "animation of 2"),
    "float tiff": (tiff(RGB16.astype(np.float32), photometric="rgb"), "32-bit samples"),
    "cmyk 16": (tiff(np.dstack([RGB16, ALPHA16]), photometric="separated"), "SEPARATED"),
    "premultiplied 16": (
        tiff(np.dstack([RGB16, ALPHA16]), photometric="rgb", extrasamples=["assocalpha"]),
        "straight alpha",
    ),
    "ppm 16": (b"P6\n30 20\n65535\n" + RGB16.astype(">u2").tobytes(), "more than 8 bits"),
    "pgm 16": (b"P5\n30 20\n65535\n" + ALPHA16.astype(">u2").tobytes(), "more than 8 bits"),
    "another format": (pillow(RGB, "SGI"), "SGI is not written"),
    "empty": (b"", "empty"),
    "text": (b"hello", "not an image"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_lose_something_is_refused(kind, tmp_path):
    data, reason = REFUSED[kind]
    with pytest.raises(DataError, match=reason) as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "photo") in str(error.value)


JPEGS = {"jpeg": pillow(RGB, "JPEG"), "jpeg cmyk": pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG")}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.97])
def test_truncated_files_are_one_line(share, tmp_path):
    for kind, data in {**{k: v[0] for k, v in LOSSLESS.items()}, **JPEGS}.items():
        # tifffile's writer and OpenCV's put the directory before or behind the samples: both must be noticed.
        with pytest.raises(DataError, match=r"cannot (decode|use) image") as error:
            pytest.fail(f"{kind}: {read(tmp_path, data[: int(len(data) * share)])}")
        assert "\n" not in str(error.value)


@settings(max_examples=200)
@given(st.sampled_from(sorted(LOSSLESS)), st.data())
def test_damage_gives_a_photograph_or_one_line(tmp_path_factory, kind, draw):
    data = bytearray(LOSSLESS[kind][0])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    photo, message = None, ""
    try:
        photo = read(tmp_path_factory.getbasetemp(), bytes(data))
    except DataError as error:
        message = str(error)
    if photo is None:
        assert "image" in message
        assert "\n" not in message
    else:
        assert len(again(photo)) > 0


def test_a_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "sub" / "photo.png"
    write_file(target, b"first")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*photo\.png: No space left on device"):
        write_file(target, b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in target.parent.iterdir()] == ["photo.png"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot write"):
        write_file(tmp_path / "file" / "photo.png", b"")
    with pytest.raises(DataError, match="File name too long"):
        write_file(tmp_path / ("x" * 254 + ".png"), b"")


@pytest.mark.parametrize("orientation", [1, 3, 6, 7, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_header_gives_the_size_that_the_network_will_see(tmp_path, kind, orientation):
    photo = read(tmp_path, pillow(RGB, kind, exif=exif(orientation)))
    assert photo.orientation == orientation
    assert photo_header(tmp_path / "photo")[1:] == photo.pixels.shape[:2]

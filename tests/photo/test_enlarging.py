"""Photographs through networks that enlarge: Y and colours, before or by the network, every format and depth."""

import os

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data
from test_photo_io import PROFILE, exif, png16
from test_photographs import enhance_all

from ppcore.data.images.matlab_resize import BORDERS, ImresizeByRows, imresize
from ppcore.data.images.ycbcr import rgb2ycbcr, y_of, ycbcr2rgb
from ppcore.errors import ConfigError, DataError
from ppcore.photo.enhance import enhance, network_input
from ppcore.photo.exif import exif_of_size
from ppcore.photo.photo_form import PhotoForm, form_of
from ppcore.photo.photo_io import read_photograph
from ppcore.photo.photograph import Photograph

Y3, Y_AFTER, RGB2 = PhotoForm("y", 3), PhotoForm("y", 2.5, enlarged_first=True), PhotoForm("rgb", 2)
RNG = np.random.default_rng(0)


def repeated(times):
    """Stands for a network that enlarges."""
    return lambda x: x.repeat(times, axis=2).repeat(times, axis=3)


def photo(kind=np.uint8, shape=(301, 23, 3), alpha=False):  # results have more rows than are converted at once
    most = np.iinfo(kind).max
    drawn = RNG.integers(0, most + 1, (*shape[:2], 4)).astype(kind)
    return Photograph(drawn[..., : shape[2]], drawn[..., 3] if alpha else None, "PNG", metadata=b"")


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [0.4, 1.7, 3])
def test_rows_of_a_resized_image_are_its_rows(scale, border):
    image = RNG.random((37, 20, 2))
    whole, rows = imresize(image, scale, border=border), ImresizeByRows(37, 20, scale, border=border)
    assert whole.shape[:2] == rows.size
    for top, bottom in ((0, 1), (0, len(whole)), (3, 9), (len(whole) - 2, len(whole))):
        first, last = rows.reads(top, bottom)
        np.testing.assert_array_equal(rows(image[first:last], top, bottom), whole[top:bottom])


class TestForms:
    @pytest.mark.parametrize(
        ("about", "wanted", "form"),
        [
            (dict(channels=3, scale=1, enlarged_first=False), None, PhotoForm()),
            (dict(channels=3, scale=4, enlarged_first=False), None, PhotoForm("rgb", 4)),
            (dict(channels=1, scale=3, enlarged_first=False), 3.0, PhotoForm("y", 3)),
            (dict(channels=1, scale=1, enlarged_first=True), 2.5, Y_AFTER),
        ],
    )
    def test_of_a_network(self, about, wanted, form):
        assert form_of("Net", **about, wanted=wanted) == form

    @pytest.mark.parametrize(
        ("about", "wanted", "message"),
        [
            (dict(channels=1, scale=3, enlarged_first=False), 2.0, "K is 2, but Net enlarges by 3: leave it out"),
            (dict(channels=3, scale=1, enlarged_first=False), 2.5, "K is 2.5, but Net does not enlarge"),
            (dict(channels=1, scale=1, enlarged_first=True), None, "K is not set: .* such as K=3"),
            (dict(channels=4, scale=1, enlarged_first=False), None, "Net takes 4 channels"),
        ],
    )
    def test_what_is_refused(self, about, wanted, message):
        with pytest.raises(ConfigError, match=message) as error:
            form_of("Net", **about, wanted=wanted, key="K")
        assert "\n" not in str(error.value)

    def test_odd_sizes(self):
        assert Y3.size(5, 7) == (15, 21)
        assert Y_AFTER.size(5, 7) == (13, 18)  # as MATLAB rounds up


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
class TestPixels:
    def test_y_through_the_network_and_colours_through_bicubic(self, kind):
        given = photo(kind)
        most = np.iinfo(kind).max
        planes = rgb2ycbcr(given.pixels / np.float64(most))
        y = np.float32(planes[..., 0]).repeat(3, axis=0).repeat(3, axis=1)
        merged = np.dstack([y, imresize(planes[..., 1:], 3)])
        found = enhance(repeated(3), given, "f", Y3)
        assert (found.pixels.dtype, found.pixels.shape) == (kind, (903, 69, 3))
        np.testing.assert_array_equal(found.pixels, np.rint(ycbcr2rgb(merged) * most))

    def test_enlarged_before_the_network(self, kind):
        given = photo(kind)
        most, seen = np.iinfo(kind).max, []
        found = enhance(lambda x: seen.append(x.copy()) or x, given, "f", Y_AFTER)
        assert seen[0].dtype == np.float32
        wanted = imresize(y_of(given.pixels / np.float64(most)), 2.5)
        np.testing.assert_array_equal(seen[0], np.float32(wanted)[None, None])
        # Bicubic of all three planes is bicubic of the colours, where nothing is cut.
        bicubic = imresize(given.pixels / np.float64(most), 2.5)
        inside = np.all((bicubic > 0) & (bicubic < 1), axis=2) & (wanted >= 0) & (wanted <= 1)
        assert inside.mean() > 0.5
        difference = np.abs(found.pixels.astype(np.float64) - np.rint(bicubic * most))[inside]
        assert difference.max() <= 1  # Y is a float32 on its way
        assert (difference == 0).mean() > 0.95

    def test_grey_is_its_own_y_and_its_alpha_is_enlarged(self, kind):
        given = photo(kind, (290, 7, 1), alpha=True)
        most = np.iinfo(kind).max
        found = enhance(repeated(3), given, "f", Y3)
        np.testing.assert_array_equal(found.pixels, given.pixels.repeat(3, axis=0).repeat(3, axis=1))
        wanted = np.rint(imresize(given.alpha / np.float64(most), 3).clip(0, 1) * most)
        assert found.alpha.dtype == kind
        np.testing.assert_array_equal(found.alpha, wanted)

    def test_colours_through_the_network(self, kind):
        given = photo(kind, alpha=True)
        found = enhance(repeated(2), given, "f", RGB2)
        np.testing.assert_array_equal(found.pixels, given.pixels.repeat(2, axis=0).repeat(2, axis=1))
        assert found.alpha.shape == (602, 46)

    def test_colours_enlarged_before(self, kind):
        given = photo(kind)
        wanted = imresize(given.pixels / np.float64(np.iinfo(kind).max), 2)
        x = network_input(given, PhotoForm("rgb", 2, enlarged_first=True))
        np.testing.assert_array_equal(x[0], np.float32(wanted).transpose(2, 0, 1))


def test_an_opaque_photograph_stays_opaque():
    for kind in (np.uint8, np.uint16):
        given = photo(kind, (40, 30, 3))
        opaque = np.full((40, 30), np.iinfo(kind).max, kind)
        found = enhance(repeated(2), Photograph(given.pixels, opaque, "PNG", metadata=b""), "f", RGB2)
        assert found.alpha.min() == np.iinfo(kind).max


def test_a_network_that_gives_another_size():
    with pytest.raises(
        DataError, match=r"f: the network's result is \[1, 1, 46, 10\], and \[1, 1, 69, 15\] was to come"
    ):
        enhance(repeated(2), photo(shape=(23, 5, 3)), "f", Y3)


@pytest.mark.parametrize(("kind", "longest"), [("JPEG", 65_500), ("WEBP", 16_383)])
def test_a_result_that_its_format_cannot_hold_is_found_out_before(kind, longest):
    small = Photograph(np.zeros((1, longest // 3 + 1, 3), np.uint8), None, kind)
    with pytest.raises(DataError, match=rf"f: the result would be \d+x3, and a side of {kind} has at most {longest}"):
        enhance(None, small, "f", Y3)


class TestFiles:
    """Written and read again: each as large as the scale says, and otherwise as it was."""

    @pytest.fixture
    def photographs(self, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        astronaut = Image.fromarray(
            data.astronaut()[40:151:2, 160:281:3]
        )  # 56 x 41, of which both sides are odd in eighths
        astronaut.save(folder / "turned.jpg", exif=exif(6), icc_profile=PROFILE, quality=95, dpi=(300, 300))
        astronaut.convert("L").save(folder / "grey.jpg")
        astronaut.save(folder / "a.webp", lossless=True)
        astronaut.save(folder / "a.tiff", compression="tiff_deflate")
        astronaut.save(folder / "a.bmp")
        astronaut.save(folder / "a.ppm")
        astronaut.quantize(16).save(folder / "palette.png")
        clear = np.dstack([np.asarray(astronaut), RNG.integers(0, 256, (56, 41), np.uint8)])
        Image.fromarray(clear).save(folder / "clear.png")
        sixteen = RNG.integers(0, 65536, (9, 5, 4)).astype(np.uint16)
        (folder / "deep.png").write_bytes(png16(sixteen, 6))
        return folder

    @pytest.mark.parametrize("form", [Y3, PhotoForm("rgb", 3), PhotoForm("y", 3, enlarged_first=True)])
    def test_every_format(self, photographs, tmp_path, form):
        compute = (lambda x: x) if form.enlarged_first else repeated(3)
        records = enhance_all([photographs], tmp_path / "out", compute, form=form)
        assert len(records) == len(os.listdir(photographs)) == 9
        for record in records:
            before, after = (read_photograph(path) for path in (record["file"], tmp_path / "out" / record["output"]))
            height, width, channels = before.pixels.shape
            assert after.pixels.shape == (3 * height, 3 * width, channels)
            assert (record["height"], record["width"], record["bits"]) == (3 * height, 3 * width, before.bits)
            assert (after.bits, after.format, after.orientation) == (before.bits, before.format, before.orientation)
            assert (after.alpha is None) == (before.alpha is None)
            if after.alpha is not None:
                assert after.alpha.shape == (3 * height, 3 * width)
            near = np.abs(after.pixels[1::3, 1::3].astype(np.float64) - before.pixels).mean()
            assert near < 0.07 * np.iinfo(before.pixels.dtype).max  # not turned, not mixed up

    def test_a_turned_jpeg_keeps_its_tag_profile_and_density(self, photographs, tmp_path):
        enhance_all([photographs / "turned.jpg"], tmp_path / "out", repeated(3), form=Y3)
        with Image.open(photographs / "turned.jpg") as before, Image.open(tmp_path / "out" / "turned.jpg") as after:
            assert after.size == (123, 168)
            assert after.getexif() == before.getexif()
            assert after.info["icc_profile"] == PROFILE
            assert after.info["dpi"] == (300, 300)
            assert ImageOps.exif_transpose(after).size == (168, 123)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_exif_says_the_new_size(self, tmp_path, suffix, orientation):
        """Of the pixels as they are stored, where it said one; all else is as it was."""
        given = Image.Exif()
        given[0x0112], given[0x010F], given[0x0100] = orientation, "Maker", 40
        given.get_ifd(0x8769).update({0xA002: 40, 0xA003: 30, 0x9003: "2026:01:01 00:00:00"})
        (tmp_path / "in").mkdir()
        Image.fromarray(data.astronaut()[:30, :40]).save(tmp_path / "in" / f"a.{suffix}", exif=given)
        enhance_all([tmp_path / "in"], tmp_path / "out", repeated(3), form=Y3)
        with Image.open(tmp_path / "out" / f"a.{suffix}") as image:
            assert image.size == (120, 90)
            found = image.getexif()
            assert (found[0x0112], found[0x010F], found[0x0100]) == (orientation, "Maker", 120)
            assert found.get_ifd(0x8769) == {0xA002: 120, 0xA003: 90, 0x9003: "2026:01:01 00:00:00"}
        with Image.open(tmp_path / "in" / f"a.{suffix}") as image:
            assert image.getexif().get_ifd(0x8769)[0xA002] == 40


@pytest.mark.parametrize("cut", range(0, 140, 3))
def test_damaged_exif_is_left_alone(cut):
    given = Image.Exif()
    given[0x0112] = 1
    given.get_ifd(0x8769).update({0xA002: 40, 0xA003: 30})
    whole = given.tobytes()
    damaged = whole[: min(cut, len(whole))]
    assert len(exif_of_size(damaged, 90, 120)) == len(damaged)
    changed = whole[:cut] + b"\xff" + whole[cut + 1 :]
    assert len(exif_of_size(changed, 90, 120)) == len(changed)

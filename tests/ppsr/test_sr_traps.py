"""The traps of super-resolution's figures, on photographs that come with dependencies; on Set5 where it is there."""

from functools import partial

import cv2
import numpy as np
import paddle
import pytest
from PIL import Image

from ppcore.data import EvalBatchSampler, EvalLoader, Photographs
from ppcore.data.images.matlab_resize import imresize, modcrop
from ppcore.data.images.ycbcr import y_of
from ppcore.errors import ConfigError
from ppsr import Bicubic, DegradedImages, ImagesOf, LumaQuality


def per_image(images, metric, network=lambda x: x):
    """PSNR-Y of each image of a data set."""
    for batch in EvalLoader(images, [], EvalBatchSampler(len(images), 1)):
        metric.update(network(paddle.to_tensor(batch["image"])), batch)
    return np.array([each[metric.primary_metric] for each in metric.per_image])


@pytest.fixture(scope="module")
def photographs():
    """A cat (300x451), coffee (400x600), a flower (427x640)."""
    return Photographs(split="test")


def bicubic(source, scale, **arguments):
    """PSNR-Y of the bicubic images: no network."""
    images = DegradedImages(source=source, scale=scale, **arguments)
    return per_image(images, LumaQuality(**arguments))


class TestResizingInsteadOfCropping:
    def test_it_flatters_images_whose_sides_are_no_multiples(self, photographs):
        gain = bicubic(photographs, 3, fit="resize") - bicubic(photographs, 3)
        assert (gain > 0.5).all()  # 0.64, 0.64 and 1.21 dB: no side pair is a multiple of 3
        gain = bicubic(photographs, 2, fit="resize") - bicubic(photographs, 2)
        assert gain[1] == 0.0  # 400x600 is cropped by nothing
        assert (gain[[0, 2]] > 0.5).all()

    def test_half_a_decibel_on_set5(self, real_data):
        if not (real_data / "sr" / "Set5").is_dir():
            pytest.skip(f"no sr/Set5 in {real_data}: set PP_DATA_DIR")
        source = ImagesOf(root=str(real_data), folder="sr/Set5")
        means = {name: bicubic(source, 3, protocol=name).mean() for name in ("matlab_y8_replicate", "pil_nocrop")}
        assert means["matlab_y8_replicate"] == pytest.approx(30.39, abs=0.005)  # what every paper prints
        assert means["pil_nocrop"] == pytest.approx(30.92, abs=0.005)
        cropped = bicubic(source, 3, protocol="pil_nocrop", fit="crop").mean()
        assert abs(cropped - means["matlab_y8_replicate"]) < 0.1  # the rest of that protocol is worth little

    def test_a_metric_refuses_images_made_otherwise(self, photographs):
        images = DegradedImages(source=photographs, scale=3, fit="resize")
        with pytest.raises(ConfigError, match="otherwise than protocol matlab_y8_replicate") as error:
            per_image(images, LumaQuality())
        assert "\n" not in str(error.value)
        images = DegradedImages(source=photographs, scale=3, protocol="lr_u8")
        with pytest.raises(ConfigError, match="float_y"):
            per_image(images, LumaQuality(protocol="float_y"))


class TestTheWrongY:
    def test_full_range_costs_its_ratio(self, photographs):
        lost = bicubic(photographs, 3) - bicubic(photographs, 3, y="full")
        np.testing.assert_allclose(lost, 20 * np.log10(255 / 219), atol=0.03)

    def test_one_coefficient_slipped(self, photographs):
        image = photographs.load(0)["image"]
        low = 255 * (y_of(image) - y_of(image, "slip"))
        np.testing.assert_allclose(low, image[..., 0] / 256, atol=0.01)
        assert 255 * y_of(np.full((1, 1, 3), 255, np.uint8), "slip")[0, 0] == pytest.approx(234, abs=0.01)
        gain = bicubic(photographs, 3, y="slip") - bicubic(photographs, 3)
        assert (gain > 0.02).all()  # and the errors are smaller, too


class TestComparingWithTheInput:
    def test_the_reference_is_not_the_input(self, photographs):
        """What gives back its input has the bicubic's number; what gives back the reference has no error."""
        images, metric = DegradedImages(source=photographs, scale=3), LumaQuality()
        for batch in EvalLoader(images, [], EvalBatchSampler(len(images), 1)):
            metric.update(paddle.to_tensor(batch["target"]), batch)
        assert all(each["psnr_y"] == float("inf") for each in metric.per_image)
        assert (bicubic(photographs, 3) < 33).all()

    def test_the_mistake_gives_another_number(self, photographs):
        """A network that sharpens: against its own input it seems the worse the more it changes."""
        images, right, wrong = DegradedImages(source=photographs, scale=3), LumaQuality(), LumaQuality()
        kernel = np.array([[0, -1, 0], [-1, 9, -1], [0, -1, 0]], np.float32) / 5
        for batch in EvalLoader(images, [], EvalBatchSampler(len(images), 1)):
            sharpened = cv2.filter2D(batch["image"][0, 0], -1, kernel)[None, None]
            right.update(paddle.to_tensor(sharpened), batch)
            wrong.update(paddle.to_tensor(sharpened), {**batch, "target": batch["image"]})
        right, wrong = ([each["psnr_y"] for each in metric.per_image] for metric in (right, wrong))
        assert (np.array(right) > bicubic(photographs, 3)).all()  # it is better than bicubic …
        assert (np.abs(np.array(wrong) - right) > 1.0).all()  # … and the mistaken number says something else


class TestOtherResizers:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_neither_pillow_nor_opencv_gives_matlabs_images(self, photographs, scale):
        image = modcrop(photographs.load(1)["image"], 12)
        low = imresize(image, 1 / scale, border="replicate").astype(int)
        size = low.shape[1::-1]
        pillow = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)).astype(int)
        opencv = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(int)
        inside = slice(4, -4)
        assert (np.abs(pillow - low)[inside, inside] <= 1).mean() > 0.99  # another rounding, another axis first
        assert (pillow != low)[inside, inside].mean() > 0.05
        border = np.abs(imresize(image / 255.0, 1 / scale) - imresize(image / 255.0, 1 / scale, border="replicate"))
        assert not border[inside, inside].any()
        assert np.abs(opencv - low)[inside, inside].max() > 20  # no antialias

    def test_two_matlabs_differ_by_hundredths(self, photographs):
        difference = bicubic(photographs, 4) - bicubic(photographs, 4, border="symmetric")
        assert (np.abs(difference) > 1e-5).all()
        assert (np.abs(difference) < 0.01).all()

    def test_rounding_less_gives_more(self, photographs):
        rounded, lr, floats = (bicubic(photographs, 2, protocol=p) for p in ("matlab_y8_symmetric", "lr_u8", "float_y"))
        assert (rounded < lr).all()
        assert (lr < floats).all()
        assert (floats - rounded < 0.07).all()


def test_the_bicubic_network_is_the_bicubic_input(photographs):
    """From low resolution by the network, and by the data set: the same row."""
    images = partial(DegradedImages, source=photographs, scale=3, protocol="matlab_y8_replicate")
    network = Bicubic(scale=3, border="replicate")
    np.testing.assert_allclose(
        per_image(images(input="lr"), LumaQuality(), network), per_image(images(), LumaQuality()), atol=1e-4
    )

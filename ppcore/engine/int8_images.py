"""The images that an int8 form is calibrated on and compared with, as a configuration names them."""

import numpy as np

from ppcore.config import Config
from ppcore.config.schema_inference import Int8Section
from ppcore.data import find_images
from ppcore.engine import build
from ppcore.errors import ConfigError

SPLITS = ("Train", "Eval")


def images_of(config: Config, wanted: Int8Section) -> str | list[str] | list[np.ndarray]:
    """What `ppcore.deploy.quantize` takes: a folder or glob, files, or the images of a data set of the configuration.

    Of a data set, as many as are used, drawn at random (always the same).

    Raises:
        ConfigError: the configuration has no such data set, or one whose samples are no single images.
        DataError: nothing is found.
    """
    if isinstance(wanted.images, list):
        return find_images(wanted.images)
    if wanted.images not in SPLITS:
        return wanted.images
    images = build.dataset(build.section(config, wanted.images), None)
    order = np.random.default_rng(0).permutation(len(images))[: wanted.count + wanted.compared]
    samples = [images.load(int(i)) for i in order]
    if any("image" not in sample for sample in samples):
        raise ConfigError(
            f"Export.int8.images: DataLoader.{wanted.images} has no single images; name a folder of images"
        )
    return [sample["image"] for sample in samples]

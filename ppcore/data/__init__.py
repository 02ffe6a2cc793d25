"""Datasets, transforms, samplers and loaders. Importing this does not import Paddle."""

from ppcore.data.cifar import Cifar10Jpeg
from ppcore.data.dataset import ArrayImages, Dataset, FileImages, check_labels
from ppcore.data.digits import Digits
from ppcore.data.file_list import FileList
from ppcore.data.image_folder import ImageFolder
from ppcore.data.image_io import IMAGE_SUFFIXES, decode_image, read_image
from ppcore.data.loader import EvalLoader, TrainLoader
from ppcore.data.mixup import Mixup, cutmix_box, mix_images, mix_targets, smooth_one_hot
from ppcore.data.mnist import MnistIdx
from ppcore.data.paddle_vision import PaddleVision
from ppcore.data.samplers import EvalStream, TrainStream
from ppcore.data.transforms import (
    CenterCrop,
    ColorJitter,
    Grayscale,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    resize_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "ArrayImages",
    "CenterCrop",
    "Cifar10Jpeg",
    "ColorJitter",
    "Dataset",
    "Digits",
    "EvalLoader",
    "EvalStream",
    "FileImages",
    "FileList",
    "Grayscale",
    "ImageFolder",
    "Mixup",
    "MnistIdx",
    "Normalize",
    "PaddleVision",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "TrainLoader",
    "TrainStream",
    "check_labels",
    "cutmix_box",
    "decode_image",
    "mix_images",
    "mix_targets",
    "read_image",
    "resize_image",
    "smooth_one_hot",
]

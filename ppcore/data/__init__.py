"""Datasets, transforms, samplers and loaders. Importing this does not import Paddle."""

from ppcore.data.cifar import Cifar10Jpeg
from ppcore.data.class_names import Relabelled, match_classes
from ppcore.data.dataset import ArrayImages, Dataset, FileImages, check_labels
from ppcore.data.digits import Digits
from ppcore.data.file_list import FileList
from ppcore.data.flat_folder import FlatFolder
from ppcore.data.image_file import ImageFile
from ppcore.data.image_folder import ImageFolder
from ppcore.data.image_io import IMAGE_SUFFIXES, decode_image, read_image
from ppcore.data.loader import EvalLoader, TrainLoader
from ppcore.data.mixup import Mixup, cutmix_box, mix_images, mix_targets, smooth_one_hot
from ppcore.data.mnist import MnistIdx
from ppcore.data.paddle_vision import PaddleVision
from ppcore.data.paired_folder import PairedFolder
from ppcore.data.photographs import Photographs
from ppcore.data.samplers import EvalStream, TrainStream
from ppcore.data.transforms import (
    CenterCrop,
    ColorJitter,
    Grayscale,
    Normalize,
    PairedCenterCrop,
    PairedChannelShuffle,
    PairedFlipRotate,
    PairedRandomCrop,
    PairedResize,
    PairToFloat,
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
    "FlatFolder",
    "Grayscale",
    "ImageFile",
    "ImageFolder",
    "Mixup",
    "MnistIdx",
    "Normalize",
    "PaddleVision",
    "PairToFloat",
    "PairedCenterCrop",
    "PairedChannelShuffle",
    "PairedFlipRotate",
    "PairedFolder",
    "PairedRandomCrop",
    "PairedResize",
    "Photographs",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Relabelled",
    "Resize",
    "TrainLoader",
    "TrainStream",
    "check_labels",
    "cutmix_box",
    "decode_image",
    "match_classes",
    "mix_images",
    "mix_targets",
    "read_image",
    "resize_image",
    "smooth_one_hot",
]

"""Datasets, transforms, samplers and loaders. Importing this does not import Paddle."""

from ppcore.data.datasets.cifar import Cifar10Jpeg
from ppcore.data.datasets.class_names import Relabelled, match_classes
from ppcore.data.datasets.dataset import ArrayImages, Dataset, FileImages, check_labels
from ppcore.data.datasets.digits import Digits
from ppcore.data.datasets.file_list import FileList
from ppcore.data.datasets.flat_folder import FlatFolder
from ppcore.data.datasets.image_folder import ImageFolder
from ppcore.data.datasets.mnist import MnistIdx
from ppcore.data.datasets.paddle_vision import PaddleVision
from ppcore.data.datasets.paired_folder import PairedFolder
from ppcore.data.datasets.photographs import Photographs
from ppcore.data.images.decode import IMAGE_SUFFIXES, decode_image, read_image
from ppcore.data.images.image_file import ImageFile
from ppcore.data.loader import EvalLoader, TrainLoader
from ppcore.data.samplers import EvalBatchSampler, TrainBatchSampler
from ppcore.data.transforms import (
    AutoAugment,
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
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ThreeAugment,
    resize_image,
)
from ppcore.data.transforms.mixup import Mixup, cutmix_box, mix_images, mix_targets, smooth_one_hot

__all__ = [
    "IMAGE_SUFFIXES",
    "ArrayImages",
    "AutoAugment",
    "CenterCrop",
    "Cifar10Jpeg",
    "ColorJitter",
    "Dataset",
    "Digits",
    "EvalBatchSampler",
    "EvalLoader",
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
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Relabelled",
    "Resize",
    "ThreeAugment",
    "TrainBatchSampler",
    "TrainLoader",
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

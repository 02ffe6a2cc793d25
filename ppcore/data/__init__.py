"""Datasets, transforms, samplers and loaders. Importing this does not import Paddle."""

from ppcore.data.datasets.cifar import Cifar10Jpeg
from ppcore.data.datasets.class_names import Relabelled, match_classes
from ppcore.data.datasets.darkened import DarkenedFolder, DarkenedImage, DarkenedPhotographs
from ppcore.data.datasets.dataset import ArrayImages, Dataset, FileImages, check_labels
from ppcore.data.datasets.digits import Digits
from ppcore.data.datasets.few_labelled import FewLabelled
from ppcore.data.datasets.file_list import FileList
from ppcore.data.datasets.flat_folder import FlatFolder
from ppcore.data.datasets.image_folder import ImageFolder
from ppcore.data.datasets.mnist import MnistIdx
from ppcore.data.datasets.paddle_vision import PaddleVision
from ppcore.data.datasets.paired_folder import PairedFolder
from ppcore.data.datasets.photographs import Photographs
from ppcore.data.datasets.repeated import Repeated
from ppcore.data.images.decode import decode_image, read_image
from ppcore.data.images.find import IMAGE_SUFFIXES, find_images, walk_images
from ppcore.data.images.image_file import ImageFile
from ppcore.data.loader import EvalLoader, TrainLoader
from ppcore.data.samplers import EvalBatchSampler, TrainBatchSampler
from ppcore.data.side_by_side import SideBySide
from ppcore.data.transforms.auto_augment import AutoAugment
from ppcore.data.transforms.blur import GaussianBlur
from ppcore.data.transforms.color import ColorJitter, Grayscale, Solarize
from ppcore.data.transforms.darken import Darken, Darkening, GammaDarken
from ppcore.data.transforms.geometry import CenterCrop, Resize, resized_shape
from ppcore.data.transforms.mixup import Mixup, cut_images, cutmix_box, mix_images, mix_targets, smooth_one_hot
from ppcore.data.transforms.normalize import Normalize
from ppcore.data.transforms.paired import (
    PairedCenterCrop,
    PairedChannelShuffle,
    PairedFlipRotate,
    PairedRandomCrop,
    PairedResize,
    PairToFloat,
)
from ppcore.data.transforms.rand_augment import RandAugment
from ppcore.data.transforms.random_apply import RandomApply
from ppcore.data.transforms.random_erasing import RandomErasing
from ppcore.data.transforms.random_geometry import RandomCrop, RandomHorizontalFlip, RandomResizedCrop
from ppcore.data.transforms.resize_image import resize_image
from ppcore.data.transforms.three_augment import ThreeAugment
from ppcore.data.transforms.transform import Transform
from ppcore.data.transforms.views import Views

__all__ = [
    "IMAGE_SUFFIXES", "ArrayImages", "AutoAugment", "CenterCrop", "Cifar10Jpeg", "ColorJitter", "Darken",
    "DarkenedFolder", "DarkenedImage", "DarkenedPhotographs", "Darkening", "Dataset", "Digits", "EvalBatchSampler",
    "EvalLoader", "FewLabelled", "FileImages", "FileList", "FlatFolder", "GammaDarken", "GaussianBlur", "Grayscale", "ImageFile", "ImageFolder",
    "Mixup", "MnistIdx", "Normalize", "PaddleVision", "PairToFloat", "PairedCenterCrop", "PairedChannelShuffle",
    "PairedFlipRotate", "PairedFolder", "PairedRandomCrop", "PairedResize", "Photographs", "RandAugment", "RandomApply", "RandomCrop",
    "RandomErasing", "RandomHorizontalFlip", "RandomResizedCrop", "Relabelled", "Repeated", "Resize", "SideBySide", "Solarize", "ThreeAugment",
    "TrainBatchSampler", "TrainLoader", "Transform", "Views", "check_labels", "cut_images", "cutmix_box",
    "decode_image", "find_images", "match_classes", "mix_images", "mix_targets", "read_image", "resize_image",
    "resized_shape", "smooth_one_hot", "walk_images",
]  # fmt: skip

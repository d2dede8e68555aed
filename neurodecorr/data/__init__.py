"""Inputs to decorrelate and to learn from: natural images, digits, Gaussian samples, labelled images, your own data."""

from neurodecorr.data.augmentation import (
    RECIPES,
    Preparation,
    centre_crop,
    normalised,
    preparation,
    prepare,
    random_crop,
    random_flip,
)
from neurodecorr.data.cifar import cifar10, cifar100
from neurodecorr.data.dataset import Dataset, batches
from neurodecorr.data.epochs import Batch, Epochs
from neurodecorr.data.gaussian import correlated_gaussian, gaussian_covariance
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.mnist import mnist, read_idx
from neurodecorr.data.patches import image_patch_covariance, image_patches, natural_patch_covariance, natural_patches
from neurodecorr.data.sources import (
    LAYOUTS,
    SOURCES,
    Split,
    digits,
    labelled,
    layout,
    load_inputs,
    load_split,
    rows_split,
)
from neurodecorr.data.streams import Contexts, contexts, switching_gaussian
from neurodecorr.data.tiny_imagenet import tiny_imagenet

__all__ = [
    "LAYOUTS",
    "RECIPES",
    "SOURCES",
    "Batch",
    "Contexts",
    "Dataset",
    "Epochs",
    "ImageDataset",
    "Preparation",
    "Split",
    "batches",
    "centre_crop",
    "cifar10",
    "cifar100",
    "contexts",
    "correlated_gaussian",
    "digits",
    "gaussian_covariance",
    "image_patch_covariance",
    "image_patches",
    "labelled",
    "layout",
    "load_inputs",
    "load_split",
    "mnist",
    "natural_patch_covariance",
    "natural_patches",
    "normalised",
    "preparation",
    "prepare",
    "random_crop",
    "random_flip",
    "read_idx",
    "rows_split",
    "switching_gaussian",
    "tiny_imagenet",
]

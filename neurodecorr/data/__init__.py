"""Inputs to decorrelate and to learn from: natural images, digits, Gaussian samples, labelled images, your own data."""

from neurodecorr.data.augmentation import preparation
from neurodecorr.data.cifar import cifar10, cifar100
from neurodecorr.data.dataset import Dataset, batches
from neurodecorr.data.epochs import Epochs
from neurodecorr.data.gaussian import contexts, correlated_gaussian, gaussian_covariance, switching_gaussian
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.mnist import mnist, read_idx
from neurodecorr.data.patches import image_patches, natural_patches
from neurodecorr.data.sources import digits, labelled, layout, load_inputs, load_split
from neurodecorr.data.tiny_imagenet import tiny_imagenet

__all__ = [
    "Dataset",
    "Epochs",
    "ImageDataset",
    "batches",
    "cifar10",
    "cifar100",
    "contexts",
    "correlated_gaussian",
    "digits",
    "gaussian_covariance",
    "image_patches",
    "labelled",
    "layout",
    "load_inputs",
    "load_split",
    "mnist",
    "natural_patches",
    "preparation",
    "read_idx",
    "switching_gaussian",
    "tiny_imagenet",
]

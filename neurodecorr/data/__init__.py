"""Inputs to decorrelate: natural images, digits, Gaussian samples, changing contexts, and the user's own data."""

from neurodecorr.data.dataset import Dataset, batches
from neurodecorr.data.gaussian import correlated_gaussian, gaussian_covariance
from neurodecorr.data.handwritten import digits
from neurodecorr.data.patches import image_patch_covariance, image_patches, natural_patch_covariance, natural_patches
from neurodecorr.data.sources import SOURCES, load_inputs
from neurodecorr.data.streams import Contexts, contexts, switching_gaussian

__all__ = [
    "SOURCES",
    "Contexts",
    "Dataset",
    "batches",
    "contexts",
    "correlated_gaussian",
    "digits",
    "gaussian_covariance",
    "image_patch_covariance",
    "image_patches",
    "load_inputs",
    "natural_patch_covariance",
    "natural_patches",
    "switching_gaussian",
]

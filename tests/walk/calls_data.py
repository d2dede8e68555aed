"""How the room `data` is called."""

import numpy as np
from bad_values import Call, Choice, Flag, Number, Numbers, Place, Seed, Several, Text, Valid, Whole

from neurodecorr import data
from neurodecorr.data import Dataset, Epochs, ImageDataset
from neurodecorr.data.augmentation import Preparation

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
IMAGES = RNG.integers(0, 255, (6, 1, 8, 8)).astype(np.uint8)
LABELS = np.arange(6) % 2
DATASET, PICTURES = Dataset(X, LABELS), ImageDataset(IMAGES, LABELS, ("a", "b"))
EPOCHS = Epochs(DATASET, 2)
HOW = data.preparation(PICTURES)
PHOTOGRAPH = RNG.standard_normal((20, 20))
OTHER = {"longer": "of another size"}
PART = Number(0.5, above=0, below=1)
NAMES = Several(("a", "b"), empty=True, also=dict.fromkeys(("texts", "with a text"), "any names"))
GENERATOR = Valid(np.random.default_rng(0))

EXEMPT = {
    "data.cifar10": "needs the files; a wrong folder stands in docs/reliability.md",
    "data.cifar100": "needs the files; a wrong folder stands in docs/reliability.md",
    "data.mnist": "needs the files; a wrong folder stands in docs/reliability.md",
    "data.tiny_imagenet": "needs the files; a wrong folder stands in docs/reliability.md",
    "data.read_idx": "needs a file; hostile ones stand in tests/data/test_mnist.py",
    "data.digits": "takes no arguments",
}

SOURCE = {
    "source": Choice("gaussian"),
    "samples": Whole(10, low=2, high=10**7),
    "seed": Seed(0),
    "size": Whole(4, low=2, high=100),
    "kind": Choice(None, none=True),
    "transpose": Flag(False, also={"True": "of files only", "numpy True": "of files only"}),
}


def listed(function):
    return lambda **options: list(function(**options))


CALLS = [
    Call(
        "data.Dataset",
        Dataset,
        {
            "inputs": Numbers(X),
            "targets": Numbers(LABELS, none=True),
            "name": Text("data", empty=False),
            "shape": Valid((2, 2), also={"None": "as a row"}),
            "description": Text(""),
        },
    ),
    Call(
        "data.Dataset.take",
        DATASET.take,
        {"indices": Numbers([0, 1], also={"slice": "all", "longer": "again", "empty list": "none"})},
    ),
    Call("data.Dataset.split", DATASET.split, {"held_out": PART, "seed": Seed(0)}),
    Call(
        "data.Epochs",
        Epochs,
        {
            "dataset": Valid(DATASET),
            "size": Whole(2, low=1),
            "seed": Seed(0),
            "shuffle": Flag(True),
            "preparation": Valid(None, also={"None": "as they are"}),
            "augment": Flag(True),
            "dtype": Valid(np.float32),
        },
    ),
    Call("data.Epochs.order", EPOCHS.order, {"epoch": Whole(0, low=0)}),
    Call("data.Epochs.batches", listed(EPOCHS.batches), {"epoch": Whole(0, low=0), "first": Whole(0, low=0)}),
    Call("data.Epochs.split", EPOCHS.split, {"held_out": PART, "seed": Seed(0), "inherit": Flag(False)}),
    Call(
        "data.ImageDataset",
        ImageDataset,
        {
            "images": Numbers(IMAGES, also=OTHER),
            "targets": Numbers(LABELS),
            "classes": NAMES,
            "name": Text("images"),
            "white": Whole(255, low=1),
            "description": Text(""),
        },
    ),
    Call(
        "data.ImageDataset.take",
        PICTURES.take,
        {"indices": Numbers([0, 1], also={"slice": "all", "longer": "again", "empty list": "none"})},
    ),
    Call("data.ImageDataset.split", PICTURES.split, {"held_out": PART, "seed": Seed(0)}),
    Call(
        "data.Preparation",
        Preparation,
        {
            "mean": Several((0.5,)),
            "std": Several((0.5,)),
            "white": Number(255.0, above=0),
            "crop": Whole(6, low=1, none=True),
            "padding": Whole(0, low=0),
            "flip": Flag(False),
        },
    ),
    Call("data.Preparation.shape", HOW.shape, {"image": Several((1, 8, 8))}),
    Call(
        "data.batches",
        listed(data.batches),
        {"inputs": Numbers(X, also=OTHER), "size": Whole(2, low=1), "rng": Seed(0, none=True)},
    ),
    Call(
        "data.centre_crop",
        data.augmentation.centre_crop,
        {"images": Numbers(IMAGES, also=OTHER), "size": Whole(4, low=1, high=8)},
    ),
    Call(
        "data.contexts",
        data.contexts,
        {"datasets": Several((DATASET, DATASET)), "covariances": Several((np.eye(4), np.eye(4)), none=True)},
    ),
    Call(
        "data.correlated_gaussian",
        data.correlated_gaussian,
        {
            "features": Whole(4, low=1, high=10**4),
            "samples": Whole(10, low=1, high=10**7),
            "condition": Number(10.0, low=1, high=1e14),
            "seed": Seed(0),
            "draw": Whole(0, low=0),
            "exact": Flag(False),
        },
    ),
    Call(
        "data.gaussian_covariance",
        data.gaussian_covariance,
        {
            "features": Whole(4, low=1, high=10**4),
            "condition": Number(10.0, low=1, high=1e14),
            "seed": Seed(0),
            "context": Whole(0, low=0),
        },
    ),
    Call(
        "data.image_patch_covariance",
        data.patches.image_patch_covariance,
        {"images": Numbers(PHOTOGRAPH, also={"longer": "another size"}), "size": Whole(4, low=2, high=20)},
    ),
    Call(
        "data.image_patches",
        data.image_patches,
        {
            "images": Numbers(PHOTOGRAPH, also={"longer": "another size"}),
            "size": Whole(4, low=2, high=20),
            "samples": Whole(10, low=2, high=10**7),
            "seed": Seed(0),
        },
    ),
    Call("data.labelled", data.labelled, {"source": Place("digits")}),
    Call("data.layout", data.layout, {"path": Place(".")}),
    Call("data.load_inputs", data.load_inputs, SOURCE),
    Call("data.load_split", data.load_split, SOURCE),
    Call("data.rows_split", data.sources.rows_split, {"dataset": Valid(DATASET), "seed": Seed(0)}),
    Call("data.natural_patch_covariance", data.patches.natural_patch_covariance, {"size": Whole(4, low=2, high=64)}),
    Call(
        "data.natural_patches",
        data.natural_patches,
        {"size": Whole(4, low=2, high=64), "samples": Whole(10, low=2, high=10**7), "seed": Seed(0)},
    ),
    Call(
        "data.normalised",
        data.augmentation.normalised,
        {
            "images": Numbers(IMAGES, also=OTHER),
            "mean": Several((0.5,)),
            "std": Several((0.5,)),
            "white": Number(255.0, above=0),
        },
    ),
    Call("data.preparation", data.preparation, {"dataset": Valid(PICTURES), "recipe": Choice("plain")}),
    Call(
        "data.prepare",
        data.augmentation.prepare,
        {"images": Numbers(IMAGES, also=OTHER), "how": Valid(HOW), "rng": Valid(None, also={"None": "as for a test"})},
    ),
    Call(
        "data.random_crop",
        data.augmentation.random_crop,
        {
            "images": Numbers(IMAGES, also=OTHER),
            "size": Whole(4, low=1, high=8),
            "rng": GENERATOR,
            "padding": Whole(0, low=0, high=100),
        },
    ),
    Call("data.random_flip", data.augmentation.random_flip, {"images": Numbers(IMAGES, also=OTHER), "rng": GENERATOR}),
    Call(
        "data.switching_gaussian",
        data.switching_gaussian,
        {
            "features": Whole(4, low=1, high=10**4),
            "samples": Whole(10, low=2, high=10**7),
            "switches": Several((5,), empty=True),
            "condition": Number(10.0, low=1, high=1e14),
            "seed": Seed(0),
            "draw": Whole(0, low=0),
            "distinct": Whole(2, low=1, none=True),
        },
    ),
]

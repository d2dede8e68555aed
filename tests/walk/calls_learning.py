"""How the room `learning` is called."""

from pathlib import Path

import numpy as np
from bad_values import Call, Choice, Flag, Number, Place, Seed, Several, Table, Valid, Whole

from neurodecorr import learning
from neurodecorr.data import Dataset, Epochs
from neurodecorr.learning import SGD, Backprop, Gaussian, History, NodePerturbation, Recording, Trainer
from neurodecorr.network import Dense, Network

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((8, 3)), np.arange(8) % 2
NET = Network([Dense(2, "identity")], 3)
EPOCHS = Epochs(Dataset(X, LABELS), 4)
RATE, SHARE = Number(1e-3, above=0), Number(0.5, low=0, below=1)
PARAMETERS = Several((np.zeros((2, 3)), np.zeros(2)), empty=True)
NONE = {"None": "none"}
MORE = {"with another key": "another number", "dict": "a number"}
HISTORY = History({"training loss": [1.0], "training accuracy": [0.5]})
RULES = (Backprop(), learning.DirectFeedbackAlignment(), learning.FeedbackAlignment(), NodePerturbation())

EXEMPT = {
    "learning.Credit": "a record of results, filled by the library",
    "learning.History": "a record of results, filled while a network learns",
}


def trainer():
    return Trainer(NET.copy(), Backprop(), SGD(0.1))


def fit(**options):
    return trainer().fit(**options)


def recorded():
    if not Path("traces").exists():
        trainer().fit(EPOCHS, 1, folder="traces", recording=Recording(("weights",), every=1))
    return True


CALLS = [
    Call("learning.SGD", SGD, {"rate": RATE, "momentum": SHARE}),
    Call("learning.SGD.start", SGD(0.1, 0.9).start, {"parameters": PARAMETERS}),
    Call("learning.Adam", learning.Adam, {"rate": RATE, "first": SHARE, "second": SHARE, "epsilon": RATE}),
    Call("learning.Adam.start", learning.Adam().start, {"parameters": PARAMETERS}),
    Call("learning.RMSprop", learning.RMSprop, {"rate": RATE, "decay": SHARE, "epsilon": RATE}),
    Call("learning.RMSprop.start", learning.RMSprop().start, {"parameters": PARAMETERS}),
    *[
        Call(f"learning.{type(rule).__name__}.start", rule.start, {"network": Valid(NET), "seed": Seed(0)})
        for rule in RULES
    ],
    Call("learning.Bernoulli", learning.Bernoulli, {"sigma": RATE}),
    Call("learning.Gaussian", Gaussian, {"sigma": RATE}),
    Call("learning.OrnsteinUhlenbeck", learning.OrnsteinUhlenbeck, {"sigma": RATE, "memory": RATE}),
    Call("learning.Recorded", learning.Recorded, {"path": Place("noise.npy"), "sigma": RATE}),
    Call(
        "learning.FeedbackAlignment",
        learning.FeedbackAlignment,
        {
            "weights": Choice("random"),
            "lateral_feedback": Choice("none"),
            "scale": Number(1.0, above=0),
            "conv_biases": Flag(True),
        },
    ),
    Call(
        "learning.NodePerturbation",
        NodePerturbation,
        {
            "variant": Choice("node"),
            "noise": Valid(Gaussian()),
            "samples": Whole(1, low=1),
            "antithetic": Flag(False),
            "clean_pass": Flag(True),
            "joint_batch": Flag(False),
        },
    ),
    Call("learning.History.best", HISTORY.best, {"name": Choice("training loss")}),
    Call(
        "learning.History.add_epoch",
        HISTORY.add_epoch,
        {"values": Table({"training loss": 1.0}, empty=True, also=MORE)},
    ),
    Call(
        "learning.History.from_arrays",
        History.from_arrays,
        {"arrays": Table(HISTORY.to_arrays(), also={"with another key": "left alone"})},
    ),
    Call(
        "learning.Recording",
        Recording,
        {"what": Several(("weights",)), "every": Whole(100, low=1), "probe": Whole(32, low=1)},
    ),
    Call(
        "learning.Trainer",
        Trainer,
        {
            "network": Valid(NET),
            "credit": Valid(Backprop()),
            "optimiser": Valid(SGD()),
            "seed": Seed(0),
            "watches": Several(("angle",), empty=True),
            "watch_every": Whole(100, low=1),
        },
    ),
    Call(
        "learning.Trainer.fit",
        fit,
        {
            "training": Valid(EPOCHS),
            "epochs": Whole(1, low=1, high=1000),
            "validation": Valid(EPOCHS, also=NONE),
            "test": Valid(EPOCHS, also=NONE),
            "folder": Place("run", none=True),
            "every": Whole(500, low=1),
            "resume": Flag(False),
            "recording": Valid(None, also=NONE),
            "config": Table({"a": 1}, none=True, json=True),
            "progress": Valid(None, also=NONE | {"function": "any function"}, skip={"class": "int fails by itself"}),
            "begin": Valid(None, also=NONE | {"function": "any function", "class": "any callable"}),
        },
    ),
    Call("learning.Trainer.load", trainer().load, {"arrays": Table(trainer().arrays())}),
    Call("learning.evaluate", learning.evaluate, {"network": Valid(NET), "batches": Valid(EPOCHS)}),
    Call(
        "learning.training_traces",
        lambda folder, names: recorded() and learning.training_traces(folder, names),
        {"folder": Place("traces"), "names": Several(("layer0.W",), none=True, empty=True)},
    ),
]

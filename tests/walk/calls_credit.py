"""How the room `learning` is called."""

from pathlib import Path

import numpy as np
from bad_values import Call, Choice, Flag, Number, Place, Seed, Several, Table, Valid, Whole

from neurodecorr import credit, training
from neurodecorr.credit import SGD, Backprop, GaussianNoise, NodePerturbation
from neurodecorr.data import Dataset, Epochs
from neurodecorr.network import Dense, Network
from neurodecorr.training import RecordingOptions, Trainer
from neurodecorr.training.history import History

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((8, 3)), np.arange(8) % 2
NET = Network([Dense(2, "identity")], 3)
EPOCHS = Epochs(Dataset(X, LABELS), 4)
RATE, SHARE = Number(1e-3, above=0), Number(0.5, low=0, below=1)
PARAMETERS = Several((np.zeros((2, 3)), np.zeros(2)), empty=True)
NONE = {"None": "none"}
MORE = {"with another key": "another number", "dict": "a number"}
HISTORY = History({"training loss": [1.0], "training accuracy": [0.5]})
RULES = (Backprop(), credit.DirectFeedbackAlignment(), credit.FeedbackAlignment(), NodePerturbation())

EXEMPT = {}


def trainer():
    return Trainer(NET.copy(), Backprop(), SGD(0.1))


def fit(**options):
    return trainer().fit(**options)


def recorded():
    if not Path("traces").exists():
        trainer().fit(EPOCHS, 1, folder="traces", recording=RecordingOptions(("weights",), every=1))
    return True


CALLS = [
    Call("credit.SGD", SGD, {"rate": RATE, "momentum": SHARE}),
    Call("credit.SGD.start", SGD(0.1, 0.9).start, {"parameters": PARAMETERS}),
    Call("credit.Adam", credit.Adam, {"rate": RATE, "first": SHARE, "second": SHARE, "epsilon": RATE}),
    Call("credit.Adam.start", credit.Adam().start, {"parameters": PARAMETERS}),
    Call("credit.RMSprop", credit.RMSprop, {"rate": RATE, "decay": SHARE, "epsilon": RATE}),
    Call("credit.RMSprop.start", credit.RMSprop().start, {"parameters": PARAMETERS}),
    *[
        Call(f"credit.{type(rule).__name__}.start", rule.start, {"network": Valid(NET), "seed": Seed(0)})
        for rule in RULES
    ],
    Call("credit.BernoulliNoise", credit.BernoulliNoise, {"sigma": RATE}),
    Call("credit.GaussianNoise", GaussianNoise, {"sigma": RATE}),
    Call("credit.OrnsteinUhlenbeck", credit.OrnsteinUhlenbeck, {"sigma": RATE, "memory": RATE}),
    Call("credit.RecordedNoise", credit.RecordedNoise, {"path": Place("noise.npy"), "sigma": RATE}),
    Call(
        "credit.FeedbackAlignment",
        credit.FeedbackAlignment,
        {
            "weights": Choice("random"),
            "lateral_feedback": Choice("none"),
            "scale": Number(1.0, above=0),
            "conv_biases": Flag(True),
        },
    ),
    Call(
        "credit.NodePerturbation",
        NodePerturbation,
        {
            "variant": Choice("node"),
            "noise": Valid(GaussianNoise()),
            "samples": Whole(1, low=1),
            "antithetic": Flag(False),
            "clean_pass": Flag(True),
            "joint_batch": Flag(False),
        },
    ),
    Call("training.History.best", HISTORY.best, {"name": Choice("training loss")}),
    Call(
        "training.History.add_epoch",
        HISTORY.add_epoch,
        {"values": Table({"training loss": 1.0}, empty=True, also=MORE)},
    ),
    Call(
        "training.History.from_arrays",
        History.from_arrays,
        {"arrays": Table(HISTORY.to_arrays(), also={"with another key": "left alone"})},
    ),
    Call(
        "training.RecordingOptions",
        RecordingOptions,
        {"what": Several(("weights",)), "every": Whole(100, low=1), "probe": Whole(32, low=1)},
    ),
    Call(
        "training.Trainer",
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
        "training.Trainer.fit",
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
    Call("training.Trainer.load", trainer().load, {"arrays": Table(trainer().arrays())}),
    Call("training.evaluate", training.evaluate, {"network": Valid(NET), "batches": Valid(EPOCHS)}),
    Call(
        "training.training_traces",
        lambda folder, names: recorded() and training.training_traces(folder, names),
        {"folder": Place("traces"), "names": Several(("layer0.W",), none=True, empty=True)},
    ),
]

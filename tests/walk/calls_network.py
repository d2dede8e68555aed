"""How the room `network` is called."""

import numpy as np
from bad_values import Call, Choice, Flag, Number, Numbers, Seed, Several, Table, Text, Valid, Whole

from neurodecorr import network
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.activations import Activation
from neurodecorr.network.losses import Loss

X = np.random.default_rng(0).standard_normal((4, 3))
LAYERS = (Dense(5), Dense(2, "identity"))
NET = Network(LAYERS, 3, decorrelation=Decorrelation("feedforward"))
PASS = NET.forward(X)
CIRCUIT = NET.as_circuit()
RATE, SHARE = Number(1e-3, above=0), Number(0.5, above=0, high=1)
OUTPUT, TARGET = PASS.output.astype(float), np.eye(2)[[0, 1, 0, 1]]
ACTIVATION = Choice("tanh")
PLAN = Valid(Decorrelation(), also={"None": "that of the network"})
UNCHECKED = ("nan", "numpy nan", "inf", "-inf", "empty list", "empty tuple", "list of nan", "0-d nan", "no rows")
UNCHECKED += ("True", "numpy True", "nan inside", "inf inside", "-inf inside", "frame of nan", "10**400")
CALLABLE = {"function": "any function", "class": "any callable"}
RAW = dict.fromkeys(UNCHECKED, "as it comes; `forward` looks at it")
RECORDS = "a record of results, filled by the library"

EXEMPT = {
    "network.NetworkCircuit": "made by `Network.as_circuit`",
    "network.Flatten": "takes no arguments",
}

CALLS = [
    Call(
        "network.Activation",
        Activation,
        {
            "name": Text("mine"),
            "value": Valid(np.tanh, also=CALLABLE),
            "slope": Valid(np.cosh, also=CALLABLE),
            "steepest": Number(1.0, above=0),
        },
    ),
    *[
        Call(
            f"network.{pool.__name__}",
            pool,
            {"size": Whole(2, low=1), "stride": Whole(2, low=1, none=True)},
        )
        for pool in (network.AvgPool2d, MaxPool2d)
    ],
    Call(
        "network.Conv2d",
        Conv2d,
        {
            "channels": Whole(2, low=1),
            "kernel": Whole(3, low=1),
            "stride": Whole(1, low=1),
            "padding": Whole(0, low=0),
            "activation": ACTIVATION,
            "decorrelation": PLAN,
        },
    ),
    Call(
        "network.Decorrelation",
        Decorrelation,
        {
            "form": Choice("feedforward"),
            "rule": Choice("explicit"),
            "rate": RATE,
            "gain": Choice("layer"),
            "share": SHARE,
            "memory": SHARE,
            "mean": Choice("running"),
            "settling": Choice("twin"),
            "tol": RATE,
            "order": Choice("CM"),
            "mean_passes": Flag(False),
            "rate_is": Choice("relative"),
        },
    ),
    Call("network.Decorrelation.public_code", Decorrelation.public_code, {"rate": RATE, "patches": Flag(False)}),
    Call("network.Dense", Dense, {"units": Whole(5, low=1), "activation": ACTIVATION, "decorrelation": PLAN}),
    Call("network.Loss", Loss, {"name": Text("mine"), "measure": Valid(network.losses.mse, also=CALLABLE)}),
    Call(
        "network.Network",
        Network,
        {
            "layers": Several(LAYERS),
            "inputs": Whole(3, low=1, high=10**5),
            "loss": Choice("cross_entropy"),
            "decorrelation": Valid(Decorrelation(), also={"None": "none"}),
            "seed": Seed(0),
            "dtype": Choice("float32"),
        },
    ),
    Call(
        "network.Network.forward",
        NET.forward,
        {
            "X": Numbers(X),
            "training": Flag(False),
            "noise": Several((np.zeros((4, 5), "f4"), None), none=True),
        },
    ),
    Call("network.Network.decorrelate", NET.copy().decorrelate, {"signals": Several(PASS.signals)}),
    Call(
        "network.Network.as_circuit",
        NET.as_circuit,
        {"tau": Number(1.0, above=0), "tau_units": Number(1.0, above=0)},
    ),
    Call("network.Network.load", NET.copy().load, {"arrays": Table(NET.arrays())}),
    Call("network.Network.to", NET.to, {"namespace": Valid(np)}),
    Call("network.Network.prepared", NET.prepared, {"samples": Whole(5, low=1)}),
    Call("network.Network.take", NET.take, {"values": Numbers(X, any_shape=True, also=RAW)}),
    Call("network.NetworkCircuit.settle", CIRCUIT.settle, {"X": Numbers(X), "tol": Number(1e-3, above=0)}),
    Call(
        "network.NetworkCircuit.integrate",
        CIRCUIT.integrate,
        {
            "X": Numbers(X),
            "t_end": Number(1.0, above=0, high=1e3),
            "times": Numbers([0.0, 1.0], none=True),
            "rtol": Number(1e-3, above=0),
        },
    ),
    Call("network.cross_entropy", network.losses.cross_entropy, {"x": Numbers(OUTPUT), "y": Numbers(TARGET)}),
    Call("network.mse", network.losses.mse, {"x": Numbers(OUTPUT), "y": Numbers(TARGET)}),
]

"""Networks whose layers decorrelate their inputs: one stack, run layer by layer or as one system of ODEs."""

from neurodecorr.network.activations import ACTIVATIONS, Activation
from neurodecorr.network.decorrelators import Decorrelation
from neurodecorr.network.layers import AvgPool2d, Conv2d, Dense, Flatten, MaxPool2d
from neurodecorr.network.losses import LOSSES, Loss, cross_entropy, mse
from neurodecorr.network.network import ForwardResult, Network
from neurodecorr.network.ode import NetworkCircuit, NetworkRest, NetworkTrajectory
from neurodecorr.network.weights import Signals

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "Activation",
    "AvgPool2d",
    "Conv2d",
    "Decorrelation",
    "Dense",
    "Flatten",
    "ForwardResult",
    "Loss",
    "MaxPool2d",
    "Network",
    "NetworkCircuit",
    "NetworkRest",
    "NetworkTrajectory",
    "Signals",
    "cross_entropy",
    "mse",
]

"""Networks whose layers decorrelate their inputs: one stack, run layer by layer or as one system of ODEs."""

from neurodecorr.network.activations import ACTIVATIONS, Activation
from neurodecorr.network.decorrelation import Decorrelation
from neurodecorr.network.layers import AvgPool2d, Conv2d, Dense, Flatten, MaxPool2d
from neurodecorr.network.losses import LOSSES, Loss, cross_entropy, mse
from neurodecorr.network.network import Network, Pass
from neurodecorr.network.synapses import Signals
from neurodecorr.network.system import NetworkCircuit, NetworkRest, NetworkTrajectory

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "Activation",
    "AvgPool2d",
    "Conv2d",
    "Decorrelation",
    "Dense",
    "Flatten",
    "Loss",
    "MaxPool2d",
    "Network",
    "NetworkCircuit",
    "NetworkRest",
    "NetworkTrajectory",
    "Pass",
    "Signals",
    "cross_entropy",
    "mse",
]

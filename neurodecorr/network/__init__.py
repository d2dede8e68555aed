"""Networks whose layers decorrelate their inputs: one stack, run layer by layer or as one system of ODEs."""

from neurodecorr.network import activations as activations
from neurodecorr.network import losses as losses
from neurodecorr.network import weights as weights
from neurodecorr.network.decorrelators import Decorrelation
from neurodecorr.network.layers import AvgPool2d, Conv2d, Dense, Flatten, MaxPool2d
from neurodecorr.network.network import Network
from neurodecorr.network.ode import NetworkCircuit

__all__ = ["AvgPool2d", "Conv2d", "Decorrelation", "Dense", "Flatten", "MaxPool2d", "Network", "NetworkCircuit"]

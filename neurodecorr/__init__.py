"""Decorrelating circuits you can simulate, learn with, and map to hardware.

Names are loaded when they are first used, so that `import neurodecorr` costs nothing.
"""

from typing import TYPE_CHECKING

from neurodecorr._lazy import lazy_face

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurodecorr import (
        circuit,
        comparison,
        credit,
        data,
        errors,
        estimators,
        experiments,
        export,
        hardware,
        io,
        locality,
        measures,
        models,
        network,
        online,
        plasticity,
        plots,
        report,
        spiking,
        training,
    )
    from neurodecorr.circuit.integrate import integrate
    from neurodecorr.circuit.model import Circuit
    from neurodecorr.circuit.settle import settle, solve
    from neurodecorr.circuit.sparse import SparseCircuit
    from neurodecorr.circuit.stability import stability
    from neurodecorr.comparison.compare import compare
    from neurodecorr.credit.backprop import Backprop
    from neurodecorr.credit.feedback_alignment import DirectFeedbackAlignment, FeedbackAlignment
    from neurodecorr.credit.node_perturbation import NodePerturbation
    from neurodecorr.credit.optimisers import Adam
    from neurodecorr.data.dataset import Dataset
    from neurodecorr.estimators import FeedforwardDecorrelator, RecurrentDecorrelator
    from neurodecorr.io.npz import load_result
    from neurodecorr.models import load_model
    from neurodecorr.network.layers import Conv2d, Dense
    from neurodecorr.network.network import Network
    from neurodecorr.online.run import run_online
    from neurodecorr.plasticity.learn import learn
    from neurodecorr.plasticity.spec import LearningRule
    from neurodecorr.training.trainer import Trainer

_NAMES = {
    "circuit": (
        "Circuit",
        "SparseCircuit",
        "integrate",
        "settle",
        "solve",
        "stability",
    ),
    "comparison": ("compare",),
    "credit": (
        "Adam",
        "Backprop",
        "DirectFeedbackAlignment",
        "FeedbackAlignment",
        "NodePerturbation",
    ),
    "data": ("Dataset",),
    "estimators": (
        "FeedforwardDecorrelator",
        "RecurrentDecorrelator",
    ),
    "io": ("load_result",),
    "models": ("load_model",),
    "network": (
        "Conv2d",
        "Dense",
        "Network",
    ),
    "online": ("run_online",),
    "plasticity": (
        "LearningRule",
        "learn",
    ),
    "training": ("Trainer",),
}

_ROOMS = (
    "circuit",
    "comparison",
    "credit",
    "data",
    "errors",
    "estimators",
    "experiments",
    "export",
    "hardware",
    "io",
    "locality",
    "measures",
    "models",
    "network",
    "online",
    "plasticity",
    "plots",
    "report",
    "spiking",
    "training",
)

__all__ = [
    "Adam",
    "Backprop",
    "Circuit",
    "Conv2d",
    "Dataset",
    "Dense",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "FeedforwardDecorrelator",
    "LearningRule",
    "Network",
    "NodePerturbation",
    "RecurrentDecorrelator",
    "SparseCircuit",
    "Trainer",
    "circuit",
    "compare",
    "comparison",
    "credit",
    "data",
    "errors",
    "estimators",
    "experiments",
    "export",
    "hardware",
    "integrate",
    "io",
    "learn",
    "load_model",
    "load_result",
    "locality",
    "measures",
    "models",
    "network",
    "online",
    "plasticity",
    "plots",
    "report",
    "run_online",
    "settle",
    "solve",
    "spiking",
    "stability",
    "training",
]


__getattr__, _ = lazy_face(__name__, {**dict.fromkeys(_ROOMS, ()), **_NAMES})


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

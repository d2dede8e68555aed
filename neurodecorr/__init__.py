"""Decorrelating circuits you can simulate, learn with, and map to hardware.

Names are loaded when they are first used, so that `import neurodecorr` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurodecorr import (
        circuit,
        data,
        errors,
        estimators,
        hardware,
        learning,
        measures,
        modelfile,
        network,
        plasticity,
        plots,
        recording,
        report,
        spiking,
        workbench,
    )
    from neurodecorr.circuit import (
        Circuit,
        Settled,
        Settler,
        SparseCircuit,
        Stability,
        Trajectory,
        TwoPopulationCircuit,
        integrate,
        settle,
        stability,
    )
    from neurodecorr.data import Dataset
    from neurodecorr.estimators import FeedforwardDecorrelator, RecurrentDecorrelator
    from neurodecorr.learning import (
        SGD,
        Adam,
        Backprop,
        DirectFeedbackAlignment,
        FeedbackAlignment,
        NodePerturbation,
        RMSprop,
        Trainer,
    )
    from neurodecorr.modelfile import load_model, model_names
    from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
    from neurodecorr.plasticity import (
        Decay,
        MaskedPlan,
        decorrelating_matrix,
        learn_continuously,
        learn_masked,
        start_masked,
    )
    from neurodecorr.recording import Recorder, Result, load_result
    from neurodecorr.workbench import Comparison, Life, compare, live

_ROOMS = (
    "circuit",
    "data",
    "errors",
    "estimators",
    "hardware",
    "learning",
    "measures",
    "modelfile",
    "network",
    "plasticity",
    "plots",
    "recording",
    "report",
    "spiking",
    "workbench",
)
_HOMES = {
    "Adam": "learning",
    "Backprop": "learning",
    "Circuit": "circuit",
    "Comparison": "workbench",
    "Conv2d": "network",
    "Dataset": "data",
    "Decay": "plasticity",
    "Decorrelation": "network",
    "Dense": "network",
    "DirectFeedbackAlignment": "learning",
    "FeedbackAlignment": "learning",
    "FeedforwardDecorrelator": "estimators",
    "Life": "workbench",
    "MaskedPlan": "plasticity",
    "MaxPool2d": "network",
    "Network": "network",
    "NodePerturbation": "learning",
    "RMSprop": "learning",
    "Recorder": "recording",
    "RecurrentDecorrelator": "estimators",
    "Result": "recording",
    "SGD": "learning",
    "Settled": "circuit",
    "Settler": "circuit",
    "SparseCircuit": "circuit",
    "Stability": "circuit",
    "Trainer": "learning",
    "Trajectory": "circuit",
    "TwoPopulationCircuit": "circuit",
    "compare": "workbench",
    "decorrelating_matrix": "plasticity",
    "integrate": "circuit",
    "learn_continuously": "plasticity",
    "learn_masked": "plasticity",
    "live": "workbench",
    "load_model": "modelfile",
    "load_result": "recording",
    "model_names": "modelfile",
    "settle": "circuit",
    "stability": "circuit",
    "start_masked": "plasticity",
}

__all__ = [
    "SGD",
    "Adam",
    "Backprop",
    "Circuit",
    "Comparison",
    "Conv2d",
    "Dataset",
    "Decay",
    "Decorrelation",
    "Dense",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "FeedforwardDecorrelator",
    "Life",
    "MaskedPlan",
    "MaxPool2d",
    "Network",
    "NodePerturbation",
    "RMSprop",
    "Recorder",
    "RecurrentDecorrelator",
    "Result",
    "Settled",
    "Settler",
    "SparseCircuit",
    "Stability",
    "Trainer",
    "Trajectory",
    "TwoPopulationCircuit",
    "circuit",
    "compare",
    "data",
    "decorrelating_matrix",
    "errors",
    "estimators",
    "hardware",
    "integrate",
    "learn_continuously",
    "learn_masked",
    "learning",
    "live",
    "load_model",
    "load_result",
    "measures",
    "model_names",
    "modelfile",
    "network",
    "plasticity",
    "plots",
    "recording",
    "report",
    "settle",
    "spiking",
    "stability",
    "start_masked",
    "workbench",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"neurodecorr.{name}")
    if name in _HOMES:
        return getattr(import_module(f"neurodecorr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'neurodecorr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""Decorrelating circuits you can simulate, learn with, and map to hardware.

Names are loaded when they are first used, so that `import neurodecorr` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurodecorr import circuit, data, errors, estimators, measures, plasticity, plots, recording, report, workbench
    from neurodecorr.circuit import (
        Circuit,
        Settled,
        Stability,
        Trajectory,
        TwoPopulationCircuit,
        integrate,
        settle,
        stability,
    )
    from neurodecorr.data import Dataset
    from neurodecorr.estimators import FeedforwardDecorrelator, RecurrentDecorrelator
    from neurodecorr.plasticity import Decay, decorrelating_matrix
    from neurodecorr.recording import Recorder, Result, load_result
    from neurodecorr.workbench import Comparison, compare

_ROOMS = (
    "circuit",
    "data",
    "errors",
    "estimators",
    "measures",
    "plasticity",
    "plots",
    "recording",
    "report",
    "workbench",
)
_HOMES = {
    "Circuit": "circuit",
    "Comparison": "workbench",
    "Dataset": "data",
    "Decay": "plasticity",
    "FeedforwardDecorrelator": "estimators",
    "Recorder": "recording",
    "RecurrentDecorrelator": "estimators",
    "Result": "recording",
    "Settled": "circuit",
    "Stability": "circuit",
    "Trajectory": "circuit",
    "TwoPopulationCircuit": "circuit",
    "compare": "workbench",
    "decorrelating_matrix": "plasticity",
    "integrate": "circuit",
    "load_result": "recording",
    "settle": "circuit",
    "stability": "circuit",
}

__all__ = [
    "Circuit",
    "Comparison",
    "Dataset",
    "Decay",
    "FeedforwardDecorrelator",
    "Recorder",
    "RecurrentDecorrelator",
    "Result",
    "Settled",
    "Stability",
    "Trajectory",
    "TwoPopulationCircuit",
    "circuit",
    "compare",
    "data",
    "decorrelating_matrix",
    "errors",
    "estimators",
    "integrate",
    "load_result",
    "measures",
    "plasticity",
    "plots",
    "recording",
    "report",
    "settle",
    "stability",
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

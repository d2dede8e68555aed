"""From weights to hardware: device models, analogue circuits, learning on chips, and files other tools read.

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"neurodecorr.hardware.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'neurodecorr.hardware' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)

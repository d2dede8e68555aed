"""Settings of the kind that the door names, or an error that says how to make one."""

from __future__ import annotations

from typing import Any, TypeVar

from neurodecorr.errors import ConfigError

__all__ = ["setting"]

Kind = TypeVar("Kind")


def setting(value: Any, name: str, kind: type[Kind]) -> Kind:
    """Return `value` if it is of this kind.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if isinstance(value, kind):
        return value
    raise ConfigError(f"{name} must be of type {kind.__name__}; got {type(value).__name__}. Use {kind.__name__}(...).")

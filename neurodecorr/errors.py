"""Exceptions and warnings raised on purpose.

Every message says what must hold, what came, and what to do.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DegenerateInputWarning",
    "DivergenceError",
    "IllConditionedWarning",
    "InputError",
    "StabilityError",
]


class InputError(ValueError):
    """Data that cannot be used: wrong shape, wrong type, NaN or infinity."""


class ConfigError(ValueError):
    """An option, key or parameter that does not exist or lies outside its range."""


class StabilityError(ArithmeticError):
    """A circuit, or a step of an integrator, that would not settle."""


class DivergenceError(FloatingPointError):
    """Learning left the finite numbers, or met a singular step."""


class CheckpointError(OSError):
    """A file that cannot be read or written safely."""


class DegenerateInputWarning(UserWarning):
    """Usable data in which some units carry no, or no independent, signal."""


class IllConditionedWarning(UserWarning):
    """A matrix close to singular: results lose digits in proportion to its condition."""

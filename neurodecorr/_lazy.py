"""Faces of packages whose names are loaded when they are first used."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_face(package: str, names: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its full name.
    names : mapping of str to sequence of str
        Its modules, and which public names come from each.

    Raises
    ------
    AttributeError
        From `__getattr__`, with the name that the package does not have.
    """
    homes = {name: home for home, own in names.items() for name in own}

    def load(name: str) -> Any:
        if name in names:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)  # the next look-up does not come here
        return found

    return load, lambda: sorted(homes)

"""Every public callable refuses what it cannot use, with one of our own errors.

The tables of calls stand in `calls_ROOM.py`: CALLS, and EXEMPT with a reason for each name that needs no call. A table
of a room within a room says which by ROOM, such as "hardware.devices".
"""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")

import bad_values  # on the path by pytest's `pythonpath`

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("calls_*.py"))
ROOMS = {name: importlib.import_module(name) for name in TABLES}
CALLS = [call for table in ROOMS.values() for call in table.CALLS]
EXEMPT = {name: reason for table in ROOMS.values() for name, reason in table.EXEMPT.items()}
PLACES = (
    *(
        "circuit",
        "comparison",
        "credit",
        "data",
        "estimators",
        "hardware.analogue",
        "hardware.devices",
        "hardware.in_situ",
    ),
    *(
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
    ),
)


def public_name(name):
    """Return a name without that of a method: the room, and one name more."""
    room = max((room for room in PLACES if name.startswith(f"{room}.")), key=len)
    return f"{room}.{name.removeprefix(f'{room}.').partition('.')[0]}"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_bad_values_are_refused_by_our_own_errors(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with bad_values.limits(), np.errstate(all="ignore"):
        found = bad_values.faults(call)
    assert not found, f"{call.name}: {len(found)} faults\n" + "\n".join(found)


def public_callables():
    for room in sorted(PLACES):
        module = importlib.import_module(f"neurodecorr.{room}")
        for name in module.__all__:
            if callable(getattr(module, name)):
                yield f"{room}.{name}"


def test_every_public_callable_has_a_call_or_a_reason_to_have_none():
    called = {public_name(call.name) for call in CALLS}
    public = set(public_callables())
    assert public - called - set(EXEMPT) == set()
    assert not {call.name for call in CALLS} & set(EXEMPT)


@pytest.mark.parametrize("name", sorted(set(public_callables()) - set(EXEMPT)))
def test_every_argument_of_a_public_callable_is_walked(name):
    room, _, function = name.rpartition(".")
    known = set(inspect.signature(getattr(importlib.import_module(f"neurodecorr.{room}"), function)).parameters)
    walked = {argument for call in CALLS if call.name == name for argument in call.arguments}
    assert known <= walked

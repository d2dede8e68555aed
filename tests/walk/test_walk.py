"""Every public callable refuses what it cannot use, with one of our own errors.

The tables of calls stand in `calls_ROOM.py`: CALLS, and EXEMPT with a reason for each name that needs no call. A table
is read when its room is walked: what its examples compute and compile is not for the time in which tests are collected.
"""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")

import bad_values  # on the path by pytest's `pythonpath`

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("calls_*.py"))
ROOMS = {table.removeprefix("calls_").replace("hardware_", "hardware."): table for table in TABLES}
ROOMS |= {"online": "calls_comparison", "training": "calls_credit", "locality": "calls_plasticity"}


def public_name(name):
    """Return a name without that of a method: the room, and one name more."""
    room = max((room for room in ROOMS if name.startswith(f"{room}.")), key=len)
    return f"{room}.{name.removeprefix(f'{room}.').partition('.')[0]}"


def public_callables():
    for room in sorted(ROOMS):
        module = importlib.import_module(f"neurodecorr.{room}")
        yield from (f"{room}.{name}" for name in module.__all__ if callable(getattr(module, name)))


PUBLIC = tuple(public_callables())


def require_refusals(calls):
    with bad_values.limits(), np.errstate(all="ignore"):
        found = {call.name: bad_values.faults(call) for call in calls}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("name", PUBLIC)
def test_bad_values_are_refused_by_our_own_errors(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    room, _, function = name.rpartition(".")
    table = importlib.import_module(ROOMS[room])
    calls = [call for call in table.CALLS if public_name(call.name) == name]
    own = [call for call in calls if call.name == name]
    exempt = name in table.EXEMPT
    assert calls or exempt, "neither a call nor a reason to have none"
    assert not (own and exempt)
    require_refusals(calls)
    known = set(inspect.signature(getattr(importlib.import_module(f"neurodecorr.{room}"), function)).parameters)
    assert exempt or known <= {argument for call in own for argument in call.arguments}


@pytest.mark.parametrize("table", TABLES)
def test_what_else_a_table_calls_refuses_bad_values_too(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_refusals([call for call in importlib.import_module(table).CALLS if public_name(call.name) not in PUBLIC])


@pytest.mark.parametrize("table", TABLES)
def test_a_table_calls_what_is_in_its_rooms(table):
    module = importlib.import_module(table)
    for name in [*(public_name(call.name) for call in module.CALLS), *module.EXEMPT]:
        assert ROOMS[name.rpartition(".")[0]] == table, name

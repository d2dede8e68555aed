"""The script for Nengo stands beside its graph and needs nothing of this package."""

import ast

import numpy as np
import pytest

from neurodecorr import export
from neurodecorr.circuit import Circuit
from neurodecorr.errors import InputError, StabilityError


def test_the_script_is_python_that_imports_only_what_it_says(tmp_path):
    path = export.write_nengo_script(Circuit(np.eye(3) + 0.1, 0.02), tmp_path / "circuit.py", dt_s=5e-5)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"sys", "h5py", "nengo", "numpy"}
    constants = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(constants["DT_S"]) == 5e-5
    assert export.read_nir(tmp_path / "circuit.nir").tau == 0.02


@pytest.mark.parametrize("name", ["circuit.nir", "circuit", "a-b.py", 'x"; import os.py'])
def test_a_script_needs_a_plain_name(tmp_path, name):
    with pytest.raises(InputError, match=r"a plain name ending in \.py"):
        export.write_nengo_script(Circuit(np.eye(2)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unstable_circuit_gets_no_script(tmp_path):
    with pytest.raises(StabilityError):
        export.write_nengo_script(Circuit(np.array([[1.0, 3.0], [3.0, 1.0]])), tmp_path / "c.py")
    assert not list(tmp_path.iterdir())

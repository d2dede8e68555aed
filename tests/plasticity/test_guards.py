"""M beside R: its drift is measured and undone by one keeper."""

import ast
from pathlib import Path

import numpy as np
import pytest

import neurodecorr
from neurodecorr.plasticity import guards

# Functions of the rooms that learn which invert a matrix, and why this is no keeping of M beside R.
INVERSIONS = {
    "inverse": "the keeper",
    "lateral": "R of a state that learns M alone",
    "R": "the circuit of a network whose layers stand as A",
    "settle_back": "the adjoint circuit of a layer that learns M alone",
    "matrix": "baselines, whose circuits have other equations",
}
ROOMS = ("plasticity", "network", "online", "estimators")


def drifted(n, size, seed=0):
    rng = np.random.default_rng(seed)
    R = np.eye(n) + 0.3 * rng.standard_normal((n, n)) / n**0.5
    return R, np.linalg.inv(R) + size * rng.standard_normal((n, n)), rng.standard_normal((7, n))


def test_the_drift_is_the_distance_from_rest_and_its_change_leaves_the_square():
    R, M, X = drifted(9, 1e-5)
    rest = np.linalg.solve(R, X.T).T
    found = guards.measure_drift(R, M, X)
    size = np.linalg.norm(found.xbar)
    assert found.error == pytest.approx(np.linalg.norm(found.xbar - rest) / size, rel=1e-3)
    assert np.linalg.norm(found.xbar + found.change - rest) / size < 100 * found.error**2
    assert guards.measure_drift(R, M, 0 * X).error == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_m_made_anew_is_the_inverse_to_the_rounding_of_its_type(dtype):
    R = drifted(9, 0)[0].astype(dtype)
    M, exact = guards.inverse(R), np.linalg.inv(R.astype(np.longdouble).astype(float))
    assert M.dtype == R.dtype
    np.testing.assert_allclose(M, exact, rtol=np.finfo(dtype).eps * (1 if dtype == "float32" else 64), atol=1e-15)
    S = guards.inverse(R @ R.T, symmetric=True)
    assert np.array_equal(S, S.T)


def test_m_beside_r_has_one_keeper():
    found = set()
    for room in ROOMS:
        for path in (Path(neurodecorr.__file__).parent / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef) and any(
                    isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "inv"
                    for call in ast.walk(node)
                ):
                    found.add(node.name)
    assert found == set(INVERSIONS)

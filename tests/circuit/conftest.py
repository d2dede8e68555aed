"""Matrices with prescribed spectra, and exact rest states, for the tests of the circuit room."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest


def _symmetric(rng, n, condition):
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    R = (Q * np.geomspace(1.0, condition, n)) @ Q.T
    return (R + R.T) / 2


def _non_normal(rng, n, slope=3.0):
    """Triangular: real eigenvalues in [1, 2], and transients that grow with the off-diagonal `slope`."""
    return np.diag(1 + rng.random(n)) + np.triu(slope * rng.standard_normal((n, n)), 1)


def _rotating(rng, n, angle=0.5):
    """Normal, with complex eigenvalues e^(±iφ) of modulus 0.5 to 2, |φ| ≤ `angle`."""
    R = np.zeros((n, n))
    for k in range(0, n, 2):
        size, phi = rng.uniform(0.5, 2), rng.uniform(-angle, angle)
        R[k : k + 2, k : k + 2] = size * np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return Q @ R @ Q.T


def _exact_rest(R, x):
    """Solve R x̄ = x in rational arithmetic, by Gauss–Jordan elimination."""
    n = len(x)
    rows = [[Fraction(float(value)) for value in (*R[i], x[i])] for i in range(n)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(n):
            if i != k:
                rows[i] = [value - rows[i][k] * top for value, top in zip(rows[i], rows[k], strict=True)]
    return [row[n] for row in rows]


def _exact_error(R, x, xbar):
    """Distance of `xbar` from rest, exact but for the last square root."""
    square = sum((Fraction(float(a)) - b) ** 2 for a, b in zip(xbar, _exact_rest(R, x), strict=True))
    return float(square) ** 0.5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def symmetric() -> Callable:
    return _symmetric


@pytest.fixture
def non_normal() -> Callable:
    return _non_normal


@pytest.fixture
def rotating() -> Callable:
    return _rotating


@pytest.fixture
def exact_error() -> Callable:
    return _exact_error

"""Products into given memory, alone and in stretches of rows."""

import numpy as np
import pytest

from neurodecorr.network import algebra


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [False, True])
def test_products_in_stretches_of_rows_are_those_of_one_call(dtype, turned, monkeypatch):
    rng = np.random.default_rng(0)
    A, B, C = (rng.standard_normal(shape).astype(dtype) for shape in ((7, 5), (5, 4), (7, 4)))
    if turned:
        A, B = np.asfortranarray(A), np.asfortranarray(B)
    monkeypatch.setattr(algebra, "SHARED", 0)
    monkeypatch.setattr(algebra, "workers", lambda: 3)
    monkeypatch.setattr(algebra, "threads", lambda: 1)
    tol = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(algebra.product(A, B, 0.5), 0.5 * (A @ B), rtol=0, atol=tol)
    wanted = 0.25 * C + 2 * (A @ B)
    algebra.add_matrix_product(C, A, B, 2.0, 0.25)
    np.testing.assert_allclose(C, wanted, rtol=0, atol=tol)
    np.testing.assert_allclose(algebra.product(A[:2], B), A[:2] @ B, rtol=0, atol=tol)  # fewer rows than threads

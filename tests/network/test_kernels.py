"""Compiled passes over pictures and drives against the slices of any array library."""

import array_api_strict
import numpy as np
import pytest

from neurodecorr.network.activations import LEAK, activation_named
from neurodecorr.network.routes import MaxWindows, Patches

PICTURES = np.random.default_rng(0).standard_normal((3, 7, 8, 5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "route",
    [
        Patches((7, 8, 5), 3),
        Patches((7, 8, 5), 3, 2, 1),
        Patches((7, 8, 5), 2, 3, 2),
        Patches((7, 8, 5), 5, 1, 4),
        Patches((7, 8, 5), 1, 3),
        MaxWindows((7, 8, 5), 2, 2),
        MaxWindows((7, 8, 5), 3, 2),
        MaxWindows((7, 8, 5), 2, 3),
    ],
)
def test_compiled_passes_do_what_slices_do(route, dtype):
    X = np.round(2 * PICTURES).astype(dtype)  # rounded: windows hold several equal maxima
    E = np.random.default_rng(1).standard_normal((3, *route.shape_behind)).astype(dtype)
    found, memo = route.forth(X)
    plain, plain_memo = route.forth(array_api_strict.asarray(X))
    np.testing.assert_array_equal(found, np.asarray(plain))
    back = np.asarray(route.back(array_api_strict.asarray(E), plain_memo))
    # At most size² numbers meet at a place, in another order.
    np.testing.assert_allclose(route.back(E, memo), back, rtol=0, atol=route.size**2 * 4 * np.finfo(dtype).eps)


def test_the_largest_of_a_window_with_nan_is_nan():
    X = PICTURES.copy()
    X[1, 2, 3, 4] = np.nan
    found, _ = MaxWindows((7, 8, 5), 2, 2).forth(X)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 1, 1, 4]]


def test_the_compiled_leaky_relu_is_the_definition_and_keeps_nan():
    h = np.array([[-2.0, -0.0, 0.0, 3.0, np.nan, -np.inf]])
    found = activation_named("leaky_relu")
    np.testing.assert_array_equal(found.value(h), np.maximum(h, LEAK * h))
    np.testing.assert_array_equal(found.slope(h), np.where(h > 0, 1, LEAK))
    np.testing.assert_array_equal(found.value(h[:, ::2]), np.maximum(h, LEAK * h)[:, ::2])

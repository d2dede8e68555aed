import math

import numpy as np
import pytest

from neurodecorr.circuit.tableaux import DORMAND_PRINCE, EULER, RK4, TABLEAUX


def order_conditions(a, b):
    """Elementary weight minus 1/γ of all 17 rooted trees of up to five nodes, by number of nodes."""
    c = a.sum(axis=1)
    ac, ac2, aac = a @ c, a @ c**2, a @ (a @ c)
    return {
        1: [b.sum() - 1],
        2: [b @ c - 1 / 2],
        3: [b @ c**2 - 1 / 3, b @ ac - 1 / 6],
        4: [b @ c**3 - 1 / 4, b @ (c * ac) - 1 / 8, b @ ac2 - 1 / 12, b @ aac - 1 / 24],
        5: [
            *(b @ c**4 - 1 / 5, b @ (c**2 * ac) - 1 / 10, b @ (ac * ac) - 1 / 20, b @ (c * ac2) - 1 / 15),
            *(b @ (c * aac) - 1 / 30, b @ (a @ c**3) - 1 / 20, b @ (a @ (c * ac)) - 1 / 40, b @ (a @ ac2) - 1 / 60),
            b @ (a @ aac) - 1 / 120,
        ],
    }


@pytest.mark.parametrize("tableau", [EULER, RK4, DORMAND_PRINCE])
def test_coefficients_meet_all_order_conditions_and_none_beyond(tableau):
    found = order_conditions(tableau.a, tableau.b)
    for order in range(1, tableau.order + 1):
        assert np.abs(found[order]).max() < 1e-15
    if tableau.order < 5:
        assert np.abs(found[tableau.order + 1]).max() > 1e-3


def test_embedded_weights_are_of_order_four():
    # The seventh stage is the slope at the new point: its row is b.
    a = np.zeros((7, 7))
    a[:6, :6], a[6, :6] = DORMAND_PRINCE.a, DORMAND_PRINCE.b
    embedded = np.append(DORMAND_PRINCE.b, 0.0) - DORMAND_PRINCE.error
    found = order_conditions(a, embedded)
    assert max(np.abs(found[order]).max() for order in range(1, 5)) < 1e-15
    assert np.abs(found[5]).max() > 1e-4


@pytest.mark.parametrize("tableau", TABLEAUX.values())
def test_stability_polynomial_begins_like_the_exponential(tableau):
    series = [1 / math.factorial(k) for k in range(tableau.order + 1)]
    assert np.abs(tableau.polynomial[: tableau.order + 1] - series).max() < 1e-15


def test_tableaux_are_explicit():
    for tableau in TABLEAUX.values():
        assert not np.triu(tableau.a).any()

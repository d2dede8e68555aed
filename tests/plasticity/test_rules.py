"""The batch rules against dense inverses and square roots, in more than one array library."""

import importlib.util

import array_api_strict
import numpy as np
import pytest
from scipy.linalg import sqrtm

from neurodecorr.plasticity import rules

N = 12
FEW, MANY = 5, 40  # fewer samples than units, and more


def libraries():
    found = [pytest.param(np, id="numpy"), pytest.param(array_api_strict, id="array_api_strict")]
    if importlib.util.find_spec("torch") is None:
        return [*found, pytest.param(None, id="torch", marks=pytest.mark.skip(reason="torch is not installed"))]
    import torch

    return [*found, pytest.param(torch, id="torch")]


def settled(b, symmetric=False, seed=0):
    """A pair of twins and a batch settled in them: R x̄ = x for every row."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((N, N)) / 4
    R = np.eye(N) + (A @ A.T if symmetric else A)
    X = rng.standard_normal((b, N))
    return R, np.linalg.inv(R), X, np.linalg.solve(R, X.T).T


def moment(Xbar):
    return Xbar.T @ Xbar / len(Xbar)


def root(C, eta):
    return np.real(sqrtm(np.eye(N) + eta * C))


DENSE = {
    "explicit_feedforward": lambda S, C, eta: (np.eye(N) - eta * C) @ S,
    "explicit_recurrent": lambda S, C, eta: S @ np.linalg.inv(np.eye(N) - eta * C),
    "implicit_feedforward": lambda S, C, eta: np.linalg.inv(np.eye(N) + eta * C) @ S,
    "local_recurrent": lambda S, C, eta: S @ (np.eye(N) + eta * C),
    "congruent_feedforward": lambda S, C, eta: np.linalg.inv(root(C, eta)) @ S @ np.linalg.inv(root(C, eta)),
    "congruent_recurrent": lambda S, C, eta: root(C, eta) @ S @ root(C, eta),
}


@pytest.mark.parametrize("xp", libraries())
@pytest.mark.parametrize("b", [1, FEW, N, MANY])
@pytest.mark.parametrize("name", DENSE)
def test_batch_rules_are_their_dense_formulas(name, b, xp):
    R, M, X, Xbar = settled(b, symmetric=name.startswith("congruent"))
    eta = 0.3 / np.linalg.eigvalsh(moment(Xbar))[-1]
    S = R if name.endswith("recurrent") else M
    given = [xp.asarray(a) for a in (S, X, Xbar)]
    result = np.asarray(getattr(rules, name)(*given, float(eta)))
    # sqrtm is the least exact of the parties: a few hundred eps.
    np.testing.assert_allclose(result, DENSE[name](S, moment(Xbar), eta), rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("b", [FEW, MANY])
@pytest.mark.parametrize(
    ("feedforward", "recurrent"),
    [
        (rules.implicit_feedforward, rules.local_recurrent),
        (rules.congruent_feedforward, rules.congruent_recurrent),
        (rules.explicit_feedforward, rules.explicit_recurrent),
    ],
)
def test_the_two_forms_stay_each_others_inverse(feedforward, recurrent, b, eta):
    R, M, X, Xbar = settled(b, symmetric=feedforward is rules.congruent_feedforward)
    if feedforward is rules.explicit_feedforward:
        eta = eta / (1 + eta) / np.linalg.eigvalsh(moment(Xbar))[-1]  # below the singular point
    product = recurrent(R, X, Xbar, eta) @ feedforward(M, X, Xbar, eta)
    # Rounding grows with the size of the factors, at most κ(R) (1 + ηλ_max) ≈ 1e4 here.
    np.testing.assert_allclose(product, np.eye(N), rtol=0, atol=1e-11)


@pytest.mark.parametrize("eta", [1e-3, 0.5, 1.0, 10.0])
def test_the_local_rule_multiplies_the_determinant_by_one_plus_eta_times_the_activity(eta):
    R, _, X, Xbar = settled(1)
    grown = np.linalg.det(rules.local_recurrent(R, X, Xbar, eta)) / np.linalg.det(R)
    np.testing.assert_allclose(grown, 1 + eta * float((Xbar**2).sum()), rtol=1e-11)
    R, _, X, Xbar = settled(MANY)
    grown = np.linalg.det(rules.local_recurrent(R, X, Xbar, eta)) / np.linalg.det(R)
    np.testing.assert_allclose(grown, np.prod(1 + eta * np.linalg.eigvalsh(moment(Xbar))), rtol=1e-11)
    assert grown > 1


@pytest.mark.parametrize("eta", [1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("b", [1, FEW, MANY])
def test_the_congruent_rule_keeps_R_symmetric_positive_definite_at_every_rate(b, eta):
    R, M, X, Xbar = settled(b, symmetric=True)
    for S, rule in ((R, rules.congruent_recurrent), (M, rules.congruent_feedforward)):
        changed = rule(S, X, Xbar, eta)
        np.testing.assert_array_equal(changed, changed.T)
        values = np.linalg.eigvalsh(changed)
        assert values[0] > -1e-14 * values[-1]  # positive up to the rounding of eigvalsh itself
        if eta <= 1e3:
            assert values[0] > 0


def test_the_explicit_rule_overshoots_past_its_singular_point():
    R, _, X, Xbar = settled(MANY, symmetric=True)
    largest = np.linalg.eigvalsh(moment(Xbar))[-1]
    below, above = 0.9 / largest, 1.1 / largest
    assert np.linalg.det(rules.explicit_recurrent(R, X, Xbar, below)) > 0
    assert np.linalg.det(rules.explicit_recurrent(R, X, Xbar, above)) < 0


@pytest.mark.parametrize("b", [1, FEW, N, MANY])
def test_modes_rebuild_the_second_moment(b):
    *_, Xbar = settled(b)
    B, values = rules.second_moment_modes(Xbar)
    assert B.shape == (min(b, N), N)
    np.testing.assert_allclose(B.T @ B, moment(Xbar), rtol=0, atol=1e-13)
    np.testing.assert_allclose(B @ B.T, np.diag(values), rtol=0, atol=1e-13)


@pytest.mark.parametrize("xp", libraries())
def test_the_power_gain_is_the_root_of_the_ratio_of_powers(xp):
    rng = np.random.default_rng(1)
    X, Xbar = rng.standard_normal((MANY, 3)), rng.standard_normal((MANY, 3)) * [0.8, 1.0, 1.2]
    ratio = np.sqrt((X**2).mean(0) / (Xbar**2).mean(0))
    given = xp.asarray(X), xp.asarray(Xbar)
    np.testing.assert_allclose(np.asarray(rules.power_gain(*given, "node")), ratio, rtol=1e-14)
    layer = np.sqrt((X**2).mean() / (Xbar**2).mean())
    np.testing.assert_allclose(np.asarray(rules.power_gain(*given, "layer")), np.full(3, layer), rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(rules.power_gain(*given, "none")), np.ones(3))


def test_a_gain_step_is_bounded_and_leaves_silent_units_alone():
    X = np.array([[1.0, 0.0, 1.0, 1.0]])
    Xbar = np.array([[1e-9, 1.0, 0.0, 1e9]])
    np.testing.assert_array_equal(rules.power_gain(X, Xbar, "node"), [2.0, 1.0, 1.0, 0.5])


@pytest.mark.parametrize("xp", libraries())
def test_the_homeostatic_gain_is_one_plus_eta_times_the_input_power(xp):
    p = xp.asarray(np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(np.asarray(rules.homeostatic_gain(p, 0.1, "node")), [1.1, 1.2, 1.6], rtol=1e-15)
    np.testing.assert_allclose(np.asarray(rules.homeostatic_gain(p, 0.1, "layer")), [1.3, 1.3, 1.3], rtol=1e-15)
    np.testing.assert_array_equal(np.asarray(rules.homeostatic_gain(p, 0.1, "none")), np.ones(3))


def test_a_batch_of_one_is_the_single_sample_rule():
    R, M, X, Xbar = settled(1)
    size, eta = float((Xbar**2).sum()), 0.1
    np.testing.assert_allclose(rules.local_recurrent(R, X, Xbar, eta), R + eta * np.outer(X, Xbar), atol=1e-14)
    single = M - eta / (1 + eta * size) * np.outer(Xbar, Xbar[0] @ M)
    np.testing.assert_allclose(rules.implicit_feedforward(M, X, Xbar, eta), single, rtol=0, atol=1e-14)

"""Optimisers against their papers' equations, written out."""

import numpy as np
import pytest

from neurodecorr.credit import SGD, Adam, RMSprop
from neurodecorr.errors import ConfigError


def steps(optimiser, dtype, count=20):
    """Return a parameter after steps along −w³ and a turning gradient."""
    w = np.linspace(-1, 1, 12).reshape(3, 4).astype(dtype)
    state = optimiser.start([w])
    for k in range(count):
        state.step([(w**3 + np.sin(k)).astype(dtype)])
    return w


def by_hand(change, count=20):
    w = np.linspace(-1, 1, 12).reshape(3, 4)
    memory = {}
    for k in range(count):
        w = w + change(w**3 + np.sin(k), memory, k + 1)
    return w


def sgd(g, memory, t):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return -0.01 * memory["v"]


def rmsprop(g, memory, t):
    memory["s"] = 0.99 * memory.get("s", 0) + 0.01 * g**2
    return -0.01 * g / (np.sqrt(memory["s"]) + 1e-8)


def adam(g, memory, t):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    return -0.01 * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize(
    ("optimiser", "law"),
    [(SGD(0.01, 0.9), sgd), (RMSprop(0.01), rmsprop), (Adam(0.01), adam)],
    ids=lambda p: str(p)[:8],
)
def test_optimiser_follows_its_equations(optimiser, law, dtype, tolerance):
    np.testing.assert_allclose(steps(optimiser, dtype), by_hand(law), atol=tolerance)


def test_plain_descent_keeps_no_memory():
    w = np.ones(3)
    state = SGD(0.5).start([w])
    state.step([np.ones(3)])
    assert w.tolist() == [0.5] * 3
    assert set(state.arrays) == {"steps"}


def test_the_compiled_pass_of_adam_equals_the_array_code():
    import array_api_strict as xp

    mine, theirs = np.linspace(-1, 1, 7), xp.asarray(np.linspace(-1, 1, 7))
    for w, lib in ((mine, np), (theirs, xp)):
        state = Adam(0.01).start([w])
        for k in range(5):
            state.step([w * 2 + lib.asarray(0.1 * k)])
    np.testing.assert_allclose(mine, np.asarray(theirs), rtol=1e-14)


@pytest.mark.parametrize("make", [lambda: Adam(0.0), lambda: Adam(1e-3, first=1.0), lambda: SGD(0.1, momentum=-1)])
def test_options_out_of_range_are_refused(make):
    with pytest.raises(ConfigError):
        make()

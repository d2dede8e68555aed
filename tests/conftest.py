"""A comparison made up in closed form: what tables, figures and reports are tested on, without simulating anything."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from neurodecorr import measures, plasticity
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import Entry
from neurodecorr.io import provenance


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are named by their length: a packed file holds the time of its packing, so its name changes by the second.

    Workers collect on their own and must agree on every name.
    """
    return f"{argname} of {len(val)} bytes" if isinstance(val, bytes) else None


def pytest_addoption(parser):
    parser.addoption(
        "--one-ulp",
        action="store_true",
        help="move every random number by its last bit: what a test claims must not hang on rounding",
    )
    parser.addoption("--skipped-to", metavar="FILE", help="write the names of tests that skip, one a line")
    parser.addoption(
        "--nothing-skips",
        action="store_true",
        help="fail tests that skip, but for those marked data: every extra and foreign program is said to be here",
    )


class _LastBitMoved(np.random.Generator):
    """A generator whose normal and uniform numbers differ from NumPy's in their last bit.

    The same value is always moved the same way, so streams that are equal stay equal.
    """

    def standard_normal(self, *args, **options):
        return _moved(super().standard_normal(*args, **options))

    def normal(self, *args, **options):
        return _moved(super().normal(*args, **options))

    def random(self, *args, **options):
        return _moved(super().random(*args, **options))

    def uniform(self, *args, **options):
        return _moved(super().uniform(*args, **options))

    def spawn(self, n_children):
        return [_LastBitMoved(child.bit_generator) for child in super().spawn(n_children)]


def _moved(value):
    """Flip the last bit of every number but zeros: uniform numbers in [0, 1) stay there."""
    numbers = np.atleast_1d(value)
    bits = numbers.view({4: np.uint32, 8: np.uint64}[numbers.dtype.itemsize])
    bits ^= (numbers != 0).astype(bits.dtype)
    return value if isinstance(value, np.ndarray) else numbers[0].item()


def pytest_configure(config):
    if config.getoption("--one-ulp"):
        made = np.random.default_rng

        def default_rng(seed=None):
            return seed if isinstance(seed, np.random.Generator) else _LastBitMoved(made(seed).bit_generator)

        np.random.default_rng = default_rng


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and item.config.getoption("--nothing-skips") and not item.get_closest_marker("data"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped, though every extra is here: {reason}"


def pytest_terminal_summary(terminalreporter, config):
    if path := config.getoption("--skipped-to"):
        names = {report.nodeid for report in terminalreporter.stats.get("skipped", ())}
        Path(path).write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")


LEVELS, DRAWS, SAMPLES = (0.01, 0.1), 6, 4
FORMS = (
    ("M* offline", "offline", "closed form"),
    ("M implicit", "feedforward", "implicit"),
    ("R implicit", "recurrent", "implicit"),
    ("R congruent", "recurrent", "congruent"),
)


def neighbours(shape):
    """Covariance that falls with the distance of two pixels: 0.8^distance."""
    places = np.array(list(np.ndindex(*shape)), dtype=float)
    return 0.8 ** np.linalg.norm(places[:, None] - places[None], axis=2)


def entry(name, form, rule, sigma, reference, rng):
    circuit, online = form == "recurrent", form != "offline"
    M = reference * (1 + 0.02 * online * rng.standard_normal(reference.shape))
    R, output = np.linalg.inv(M), M @ sigma @ M.T
    eigenvalues = np.linalg.eigvals(R).astype(complex)
    steps = np.array([0, 1, 10, 100, 1000]) if online else np.empty(0, dtype=np.int64)
    along = np.linspace(0, 1, len(steps))
    t = np.linspace(0, 30, 20) if circuit else np.empty(0)
    error = np.exp(-0.5 * t)[None] * rng.uniform(0.5, 1, (SAMPLES, 1)) if circuit else np.empty((0, 0))
    return Entry(
        name=name,
        form=form,
        rule=rule,
        failure="",
        learnt=1000,
        limited=3 * online,
        seconds=0.1 * online,
        correlation=measures.rms_correlation(covariance=output),
        relative=measures.relative_off_diagonal(covariance=output),
        power=float(np.trace(output) / np.trace(sigma)),
        twin_error=measures.twin_error(R, M),
        distance=float(np.linalg.norm(M - reference) / np.linalg.norm(reference)),
        settling_error=9.5e-7 * circuit,
        settling_time=27.6 * circuit,
        settling_time_worst=31.2 * circuit,
        predicted_time=27.5 * circuit,
        products=21.0 if circuit else 1.0,
        margin=float(eigenvalues.real.min()),
        condition=float(np.linalg.cond(R)),
        synapses=R.size,
        operations=(21.0 if circuit else 1.0) * R.size,
        matrix=M,
        lateral=R,
        covariance=output,
        eigenvalues=eigenvalues,
        steps=steps,
        margins=1 - 0.7 * along,
        correlations=0.6 - 0.5 * along,
        powers=1 - 0.1 * along,
        mismatch_error=np.array(LEVELS)[:, None] * rng.uniform(2, 4, (len(LEVELS), DRAWS)),
        path_time=t,
        path_error=error,
        path_bound=2 * error,
    )


@pytest.fixture(scope="session")
def specimen():
    """A comparison of four forms on 3 × 4 pixels; nothing went wrong."""
    rng = np.random.default_rng(0)
    sigma = neighbours((3, 4))
    reference = plasticity.decorrelating_matrix(sigma)
    config = {"data": "pixels", "samples": 1000, "tol": 1e-6, "seed": 7, "rate": 1e-3, "rules": ["implicit"]}
    return Comparison(
        dataset="pixels",
        shape=(3, 4),
        config=config,
        provenance=provenance(config, 7, time.perf_counter()),
        correlation=measures.rms_correlation(covariance=sigma),
        relative=measures.relative_off_diagonal(covariance=sigma),
        covariance=sigma,
        held_out=4000,
        mismatch_levels=np.array(LEVELS),
        entries=tuple(entry(*form, sigma, reference, rng) for form in FORMS),
    )


@pytest.fixture(scope="session")
def troubled(specimen):
    """The same, but R implicit stopped early, and half of the copies of R congruent lose stability at the end."""
    offline, matrix, local, congruent = specimen.entries
    errors = congruent.mismatch_error.copy()
    errors[-1, : DRAWS // 2 + 1] = np.inf
    stopped = dataclasses.replace(local, failure="min Re λ(R) is -0.1 after sample 123.", learnt=100)
    return dataclasses.replace(
        specimen, entries=(offline, matrix, stopped, dataclasses.replace(congruent, mismatch_error=errors))
    )

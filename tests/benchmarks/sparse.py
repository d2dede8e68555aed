"""A circuit of 10⁵ units with 100 synapses each: settle and learn beside scipy, time and memory against one pass.

Run: OPENBLAS_NUM_THREADS=2 python tests/benchmarks/sparse.py [--quick]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from bench import Timing, interleaved, machine, peak_memory, read_time, table
from scipy.integrate import solve_ivp

from neurodecorr._numerics import sparse
from neurodecorr.circuit import SparseCircuit, settle
from neurodecorr.circuit.sparse import grid_neighbours
from neurodecorr.plasticity import SparseLearningRule, initial_sparse_state, learn_sparse

SYNAPSES, TOL, LEARNING_TOL = 100, 1e-6, 1e-3
RATE, FEW, MANY = 1e-3, 5, 25
# Of random symmetric weights of deviation s, eigenvalues reach 1 ± 2 s √k: κ(R) ≈ 4.
SCALE = 0.03


def weights(side: int) -> scipy.sparse.csr_array:
    """Return a symmetric R on a torus, 1 on its diagonal."""
    R = grid_neighbours((side, side), SYNAPSES, torus=True).astype(np.float64)
    R.data = SCALE * np.random.default_rng(0).standard_normal(R.nnz) * math.sqrt(2)
    R = scipy.sparse.csr_array((R + R.T) / 2)
    R.setdiag(1.0)
    return R


def waves(side: int, count: int) -> np.ndarray:
    """Return inputs whose neighbours are correlated."""
    X = np.random.default_rng(1).standard_normal((count, side, side))
    return (X + np.roll(X, 1, 1) + np.roll(X, 1, 2)).reshape(count, -1)


def alone(call: Callable[[], object]) -> Callable[[], object]:
    """Return the call with sparse products on one thread."""

    def run() -> object:
        many, sparse.MANY_SYNAPSES = sparse.MANY_SYNAPSES, 2**62
        try:
            return call()
        finally:
            sparse.MANY_SYNAPSES = many

    return run


def euler(R: scipy.sparse.csr_array, x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Euler steps of the best fixed size in scipy, until the residual proves the tolerance."""
    z, step = np.zeros_like(x), 2 / (low + high)
    while np.linalg.norm(gap := x - R @ z) > TOL * low * np.linalg.norm(z):
        z += step * gap
    return z


def by_scipy(R: scipy.sparse.csr_array, x: np.ndarray, low: float, high: float) -> dict[str, Callable[[], object]]:
    """Return scipy's ways to the same residual; none of them bounds σ_min."""
    aim = TOL * low / high
    run = {"x0": np.zeros_like(x), "rtol": aim, "atol": 0.0}
    return {
        "scipy, Euler with CSR products": lambda: euler(R, x, low, high),
        "scipy cg (symmetric R only)": lambda: scipy.sparse.linalg.cg(R, x, **run),
        "scipy bicgstab": lambda: scipy.sparse.linalg.bicgstab(R, x, **run),
        "scipy gmres": lambda: scipy.sparse.linalg.gmres(R, x, **run),
        "scipy solve_ivp RK45": lambda: solve_ivp(
            lambda t, z: x - R @ z, (0, math.log(2 / TOL) / low), run["x0"], rtol=1e-6, atol=1e-8
        ),
    }


def settling(side: int, repeats: int) -> None:
    """Time one input to a certified relative 1e-6."""
    R, x = weights(side), waves(side, 1)[0]
    circuit = SparseCircuit(R)
    found = settle(circuit, x, TOL, relative=True)
    low, high = circuit._ritz
    size = R.data.nbytes + R.indices.nbytes
    rivals: dict[str, Callable[[], object]] = {
        "neurodecorr": lambda: settle(circuit, x, TOL, relative=True),
        "neurodecorr, one thread": alone(lambda: settle(circuit, x, TOL, relative=True)),
        "neurodecorr, bounds included": lambda: settle(SparseCircuit(R), x, TOL, relative=True),
    }
    timed = interleaved(rivals | by_scipy(R, x, low, high), repeats)
    one = read_time(size)
    timed["limit: one read pass"] = Timing(one, one, one)
    title = f"settle, n = {circuit.size}, {circuit.synapses} synapses, κ ≈ {high / low:.2g}"
    table(title, timed, "neurodecorr", "limit: one read pass")
    sigma = circuit.sigma
    print(f"\n{found.outcome}, bound {found.bound:.2g} of {np.linalg.norm(found.xbar):.3g}; {found.products} products,")
    print(f"each {timed['neurodecorr'].median / found.products / one:.2f} of a read pass over {size / 1e6:.0f} MB")
    print(f"σ_min ≥ {sigma.low:.3f} ({sigma.kind}, {sigma.products} products, fails with {sigma.failure:.0e})")
    report("settle, bounds included", lambda: settle(SparseCircuit(R), x, TOL, relative=True), circuit.synapses)


def scipy_rule(R: scipy.sparse.csr_array, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The local rule on the stored entries as one writes it with scipy; R changes in place."""
    power, xbar = np.zeros(R.shape[0]), np.zeros(R.shape[0])
    for k, x in enumerate(X):
        power += (x * x - power) / (k + 1)
        eta = RATE / power.mean()
        xbar = scipy.sparse.linalg.bicgstab(R, x, x0=xbar, rtol=LEARNING_TOL, atol=0.0)[0]
        R.data += eta * x[rows] * xbar[R.indices]
        R.data /= (1 + eta * power)[R.indices]
    return R.data


def learning(side: int, repeats: int) -> None:
    """Time single samples: settled from the last one's rest to a residual of 1e-3, then one step."""
    X, plan = waves(side, MANY), SparseLearningRule(rate=RATE, tol=LEARNING_TOL)
    state = learn_sparse(initial_sparse_state(grid_neighbours((side, side), SYNAPSES, torus=True)), X[:FEW], plan)
    R = state.weights.copy()
    rows, synapses = np.repeat(np.arange(R.shape[0]), np.diff(R.indptr)), R.nnz
    rivals: dict[str, Callable[[], object]] = {
        "few": lambda: learn_sparse(state, X[:FEW], plan),
        "many": lambda: learn_sparse(state, X, plan),
        "few, one thread": alone(lambda: learn_sparse(state, X[:FEW], plan)),
        "many, one thread": alone(lambda: learn_sparse(state, X, plan)),
        "scipy": lambda: scipy_rule(R, X[:FEW], rows),
    }
    timed = interleaved(rivals, repeats)
    one = read_time(R.data.nbytes + R.indices.nbytes)
    found = {
        "neurodecorr": marginal(timed["few"], timed["many"]),
        "neurodecorr, one thread": marginal(timed["few, one thread"], timed["many, one thread"]),
        "scipy, bicgstab and numpy": Timing(*(t / FEW for t in (timed["scipy"].median, *quartiles(timed["scipy"])))),
        "limit: one read pass": Timing(one, one, one),
    }
    table(f"learn, one sample, n = {R.shape[0]}, {synapses} synapses", found, "neurodecorr", "limit: one read pass")
    spent = (learn_sparse(state, X, plan).products - state.products) / MANY
    print(f"\n{spent:.1f} products a sample; once a call, copy and look at stability: ", end="")
    print(f"{timed['few'].median - FEW * found['neurodecorr'].median:.2g} s")
    report("learn", lambda: learn_sparse(state, X[:FEW], plan), synapses)


def marginal(few: Timing, many: Timing) -> Timing:
    """Return the time of one more sample: what a call costs once cancels."""
    seconds = (many.median - few.median) / (MANY - FEW)
    off = (few.high - few.low + many.high - many.low) / 2 / (MANY - FEW)
    return Timing(seconds, seconds - off, seconds + off)


def quartiles(timing: Timing) -> tuple[float, float]:
    """Return the lower and the upper quartile."""
    return timing.low, timing.high


def report(name: str, call: Callable[[], object], synapses: int) -> None:
    """Print the peak of memory per synapse; a weight and its index take 12 bytes."""
    peak = peak_memory(call)
    print(f"{name}: peak {peak.traced / synapses:.0f} bytes a synapse (traced), ", end="")
    print(f"{peak.resident / synapses:.0f} (resident), on top of the weights")


def main() -> None:
    """Print the tables of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10⁴ units, few repeats")
    options = parser.parse_args()
    machine()
    side, repeats = (100, 2) if options.quick else (317, 3)
    settling(side, repeats)
    learning(side, repeats)


if __name__ == "__main__":
    main()

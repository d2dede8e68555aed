"""Settle circuits to a certified 1e-6 of the rest state through `nd.settle`, against integrators and LAPACK.

Run: python tests/benchmarks/settle.py [--quick | --full | --choice] [--size N] [--threads N]

By default the cases of docs/performance.md: symmetric and skew R, one learnt from natural patches, one sample and 256,
one-shot (a new Circuit each time) and kept. With --full every n in 32, 256, 1000, batch in 1, 256, κ in 4, 100, 1000,
float64 and float32; with --size those of one n. General integrators run at κ = 4. With --choice 200 random circuits:
how often "auto" takes at most twice the time of the best method.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from bench import gemm_rate, interleaved, machine, peer, table
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

from neurodecorr import Circuit, RecurrentDecorrelator, settle
from neurodecorr.data import natural_patches
from neurodecorr.errors import StabilityError

TOL = 1e-6
# Calls after which a circuit keeps its inverse, whatever its size here.
KEPT = 40
# Of what "auto" chooses from, and how far simulations go to compete.
METHODS, MOST_STEPS, TURNS = ("direct", "chebyshev", "exponential"), 5000, 3
Solver = Callable[[], np.ndarray]


def weights(n: int, condition: float, skew: float, rng: np.random.Generator) -> np.ndarray:
    """Return R with eigenvalues from 1/√κ to √κ, and a skew part of a share of its norm; learnt for skew = NaN."""
    if math.isnan(skew):
        patches = natural_patches(size=math.isqrt(n), samples=20_000, seed=0)
        return RecurrentDecorrelator(epochs=1).fit(patches.inputs).R_
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    R = (Q * np.linspace(condition**-0.5, condition**0.5, n)) @ Q.T
    K = rng.standard_normal((n, n))
    return (R + R.T) / 2 + skew * condition**0.5 * (K - K.T) / np.linalg.norm(K - K.T, 2)


@dataclass(frozen=True)
class Case:
    """What is settled: units, samples, condition, precision, and the skew part of R over its norm."""

    n: int
    samples: int
    condition: float
    dtype: str = "float64"
    skew: float = 0.0

    def __str__(self) -> str:
        kind = "learnt" if math.isnan(self.skew) else f"κ = {self.condition:g}, skew {self.skew:g}"
        return f"n = {self.n}, batch {self.samples}, {kind}, {self.dtype}"


def ours(circuit: Circuit, X: np.ndarray) -> dict[str, Solver]:
    """Return the calls that users make: with a circuit that they keep, with a new one, and by name of the method."""
    U = X[0] if len(X) == 1 else X
    for _ in range(KEPT):
        settle(circuit, U, TOL, relative=True)
    return {
        "settle, kept": lambda: settle(circuit, U, TOL, relative=True).xbar,
        "settle, one-shot": lambda: settle(Circuit(circuit.R), U, TOL, relative=True).xbar,
        "settle, kept, chebyshev": lambda: settle(circuit, U, TOL, relative=True, method="chebyshev").xbar,
        "Circuit": lambda: Circuit(circuit.R).R,
    }


def lapack(R: np.ndarray, X: np.ndarray) -> dict[str, Solver]:
    """Return the limits: factor and solve, and one product."""
    if np.array_equal(R, R.T):
        name, factor, solve = "Cholesky factor + solve", scipy.linalg.cho_factor, scipy.linalg.cho_solve
    else:
        name, factor, solve = "LU factor + solve", scipy.linalg.lu_factor, scipy.linalg.lu_solve
    A = np.asfortranarray(R)
    return {
        name: lambda: solve(factor(A, check_finite=False), X.T, check_finite=False).T,
        "one product R x": lambda: X @ A,
    }


def integrators(R: np.ndarray, X: np.ndarray, slowest: float) -> dict[str, Solver]:
    """Return general integrators, run just as long as the slowest mode needs."""
    end, shape = math.log(2 / TOL) / slowest, X.shape

    def slope(t: float, z: np.ndarray) -> np.ndarray:
        return (X - z.reshape(shape) @ R.T).ravel()

    def scipy_by(method: str, rtol: float) -> Solver:
        return lambda: solve_ivp(slope, (0, end), np.zeros(X.size), method, rtol=rtol, atol=rtol / 100).y[:, -1]

    rivals = {"scipy RK45": scipy_by("RK45", 1e-5)}
    if X.size <= 1000:
        rivals["scipy LSODA"] = scipy_by("LSODA", 1e-8)
    others = (by_diffrax, by_torchdiffeq, by_numbalsoda, by_brian2)
    return {**rivals, **{name: run for other in others for name, run in other(R, X, end).items()}}


def by_diffrax(R: np.ndarray, X: np.ndarray, end: float) -> dict[str, Solver]:
    """Tsit5 with the steady-state event, compiled."""
    diffrax, jax = peer("diffrax"), peer("jax")
    if not (diffrax and jax):
        return {}
    jax.config.update("jax_enable_x64", True)
    A, U = jax.numpy.asarray(R.T), jax.numpy.asarray(X)
    event = diffrax.Event(diffrax.steady_state_event(rtol=TOL, atol=TOL / 10))

    @jax.jit
    def run(U: object) -> object:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, z, u: u - z @ A),
            diffrax.Tsit5(),
            0.0,
            10 * end,
            0.1,
            jax.numpy.zeros_like(U),
            U,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-8),
            event=event,
            max_steps=100_000,
        ).ys[-1]

    return {"diffrax Tsit5": lambda: np.asarray(run(U))}


def by_torchdiffeq(R: np.ndarray, X: np.ndarray, end: float) -> dict[str, Solver]:
    """Dormand–Prince of torchdiffeq."""
    torch, torchdiffeq = peer("torch"), peer("torchdiffeq")
    if not (torch and torchdiffeq):
        return {}
    A, U = torch.from_numpy(R.T.copy()), torch.from_numpy(X)
    times = torch.tensor([0.0, end], dtype=U.dtype)

    def run() -> np.ndarray:
        with torch.no_grad():
            found = torchdiffeq.odeint(lambda t, z: U - z @ A, torch.zeros_like(U), times, rtol=1e-6, atol=1e-8)
        return found[-1].numpy()

    return {"torchdiffeq dopri5": run}


def by_numbalsoda(R: np.ndarray, X: np.ndarray, end: float) -> dict[str, Solver]:
    """Dormand–Prince 8(5,3) of numbalsoda, for one sample."""
    numbalsoda = peer("numbalsoda")
    if not numbalsoda or len(X) > 1 or len(R) > 256:
        return {}
    import numba

    n, known = len(R), np.concatenate([R.ravel(), X.ravel()])

    @numba.cfunc(numbalsoda.lsoda_sig)
    def slope(t, z, dz, p):  # type: ignore[no-untyped-def]
        A, u = numba.carray(p, (n * n + n,))[: n * n].reshape(n, n), numba.carray(p, (n * n + n,))[n * n :]
        state = numba.carray(z, (n,))
        for i in range(n):
            total = u[i]
            for j in range(n):
                total -= A[i, j] * state[j]
            dz[i] = total

    times, start, address = np.array([0.0, end]), np.zeros(n), slope.address
    return {"numbalsoda dop853": lambda: numbalsoda.dop853(address, start, times, known, rtol=1e-6, atol=1e-8)[0][-1]}


def by_brian2(R: np.ndarray, X: np.ndarray, end: float) -> dict[str, Solver]:
    """Euler steps of Brian2 at their best size, numpy and C++ targets, for one sample."""
    brian2 = peer("brian2")
    if not brian2 or len(X) > 1 or len(R) > 256:
        return {}
    values = np.linalg.eigvals(R).real
    dt, second = 2 / (values.min() + values.max()), brian2.second
    steps = math.ceil(math.log(TOL) / math.log((values.max() - values.min()) / (values.max() + values.min())))

    def network() -> tuple[object, object]:
        brian2.start_scope()
        units = brian2.NeuronGroup(len(R), "dz/dt = (u - s)/second : 1\nu : 1\ns : 1", method="euler", dt=dt * second)
        synapses = brian2.Synapses(units, units, "w : 1\ns_post = w*z_pre : 1 (summed)", dt=dt * second)
        synapses.connect()
        synapses.w, units.u = R.T.ravel(), X[0]
        return brian2.Network(units, synapses), units

    def by_numpy() -> np.ndarray:
        net.restore()
        net.run(steps * dt * second)
        return np.array(units.z)

    standalone(brian2, network, steps * dt * second)
    brian2.prefs.codegen.target = "numpy"
    net, units = network()
    net.store()
    return {f"Brian2 numpy, {steps} Euler steps": by_numpy}


def standalone(brian2: object, network: Callable[[], tuple[object, object]], duration: object) -> None:
    """Print the time that the loop of a C++ standalone build takes, compiler and files aside."""
    brian2.set_device("cpp_standalone", build_on_run=False)
    net, _ = network()
    net.run(duration)
    brian2.device.build(directory=None, compile=True, run=True, debug=False)
    print(f"Brian2 cpp_standalone, its loop alone: {1e3 * brian2.device._last_run_time:.3g} ms")
    brian2.device.reinit()
    brian2.set_device("runtime")


def show(case: Case, peers: bool, repeats: int) -> None:
    """Print one table, how exact each rival was, and what limits them."""
    rng = np.random.default_rng(0)
    R = weights(case.n, case.condition, case.skew, rng)
    X = rng.standard_normal((case.samples, case.n))
    rest = np.linalg.solve(R, X.T).T
    circuit, U = Circuit(R.astype(case.dtype)), X.astype(case.dtype)
    general = integrators(R, X, float(np.linalg.eigvals(R).real.min())) if peers else {}
    rivals = {**ours(circuit, U), **lapack(circuit.R, U), **general}
    solvers = {name: call for name, call in rivals.items() if "product" not in name and name != "Circuit"}
    off = {name: call().reshape(-1, case.n) - rest for name, call in solvers.items()}
    worst = {name: (np.linalg.norm(e, axis=1) / np.linalg.norm(rest, axis=1)).max() for name, e in off.items()}
    found = interleaved(rivals, repeats)
    table(str(case), found, next(iter(rivals)), next(name for name in rivals if "factor +" in name))
    run = settle(circuit, U, TOL, relative=True, method="chebyshev")
    least = math.sqrt(case.condition) / 2 * math.log(2 / TOL)
    ratio = run.products.max() / least
    print(f"\nproducts {run.products.max()}, {ratio:.2f} of the Chebyshev bound; settled {run.settled.mean():.0%}")
    rates = ", ".join(f"{dtype} {gemm_rate(dtype) / 1e9:.0f}" for dtype in ("float64", "float32"))
    print(f"GFLOP/s of a product of 1000 × 1000: {rates}")
    print("relative error: " + ", ".join(f"{name} {error:.0e}" for name, error in worst.items()))


def choices(samples: int, circuits: int = 200) -> None:
    """Print how "auto" compares with the best method on random circuits, one-shot, and which method that is."""
    ratios, best, rng = [], [], np.random.default_rng(0)
    while len(ratios) < circuits:
        n, condition, skew = int(rng.integers(4, 257)), 10 ** rng.uniform(0, 12), rng.choice([0.0, 0.1, 1.0, 3.0])
        R = weights(n, condition, skew, rng)
        X = rng.standard_normal((samples, n)) @ R.T

        def seconds(method: str, R: np.ndarray = R, X: np.ndarray = X) -> float:
            limit = {} if method in ("auto", "direct") else {"max_steps": MOST_STEPS}
            begin = time.process_time()
            try:
                met = settle(Circuit(R), X, TOL, relative=True, method=method, **limit).settled.all()
            except StabilityError:  # rounding may take the least eigenvalue across zero
                met = False
            return time.process_time() - begin if met else math.inf

        turns = [{method: seconds(method) for method in ("auto", *METHODS)} for _ in range(TURNS)]
        found = {method: min(turn[method] for turn in turns) for method in turns[0]}
        if math.isfinite(found["auto"]):
            rivals = {method: found[method] for method in METHODS}
            best.append(min(rivals, key=rivals.__getitem__))
            ratios.append(found["auto"] / rivals[best[-1]])
    median, high, worst = np.percentile(ratios, [50, 95, 100])
    print(
        f"batch {samples}: auto over the best method, {circuits} circuits: median {median:.2f}, 95 % below {high:.2f}, "
        f"worst {worst:.2f}; at most 2 in {np.mean(np.array(ratios) <= 2):.0%}; best: "
        + ", ".join(f"{method} {best.count(method)}" for method in METHODS)
    )


def cases(quick: bool, full: bool) -> list[Case]:
    """Return what to settle."""
    if quick:
        return [Case(32, 1, 4.0), Case(256, 1, 4.0, skew=0.3), Case(256, 1, 4.0, skew=math.nan)]
    sizes, batches, conditions = (32, 256, 1000), (1, 256), (4.0, 100.0, 1000.0)
    if full:
        straight = itertools.product(sizes, batches, conditions, ("float64", "float32"))
        return [Case(*facts) for facts in straight] + [Case(n, b, 4.0, skew=0.3) for n in sizes for b in batches]
    return [
        *(Case(n, b, 4.0, skew=skew) for n in sizes for b in batches for skew in (0.0, 0.3)),
        *(Case(256, b, 4.0, skew=math.nan) for b in batches),
        Case(1000, 256, 1000.0),
        Case(1000, 256, 4.0, "float32"),
    ]


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--choice", action="store_true")
    parser.add_argument("--size", type=int)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch = peer("torch")
    if torch:
        torch.set_num_threads(given.threads)
    with threadpool_limits(given.threads, "blas"):
        machine()
        if given.choice:
            choices(1)
            choices(256)
            return
        for case in cases(given.quick, given.full):
            if given.size in (None, case.n):
                peers = case.condition == 4 and case.dtype == "float64" and not math.isnan(case.skew)
                show(case, peers, 3 if case.n == 1000 else 5)


if __name__ == "__main__":
    main()

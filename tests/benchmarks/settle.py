"""Settle circuits to a certified 1e-6 of the rest state, against general integrators and against LAPACK.

Run: OPENBLAS_NUM_THREADS=1 python tests/benchmarks/settle.py [--quick]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import scipy.linalg
from bench import interleaved, machine, peer, table
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, Settler, settle

TOL = 1e-6
Solver = Callable[[], np.ndarray]


def weights(n: int, condition: float, asymmetry: float, rng: np.random.Generator) -> np.ndarray:
    """Return R with eigenvalues from 1 to κ, and a Gaussian part of that norm on top."""
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    R = (Q * np.geomspace(1, condition, n)) @ Q.T
    return (R + R.T) / 2 + asymmetry * rng.standard_normal((n, n)) / (2 * math.sqrt(n))


def ours(circuit: Circuit, X: np.ndarray) -> dict[str, Solver]:
    """Return our ways; bounds of the spectrum are known, factors are not unless the name says so."""
    settle(circuit, X, TOL, relative=True)

    def factor() -> np.ndarray:
        vars(circuit).pop("factors", None)
        return settle(circuit, X, TOL, relative=True, method="direct").xbar

    rivals: dict[str, Solver] = {}
    if len(X) == 1:
        settler, x = Settler(circuit, TOL, relative=True), X[0].copy()
        rivals["Settler"] = lambda: settler(x)[0]
    rivals["settle"] = lambda: settle(circuit, X, TOL, relative=True).xbar
    rivals["settle, direct"] = factor
    rivals["Circuit and settle"] = lambda: settle(Circuit(circuit.R), X, TOL, relative=True).xbar
    return rivals


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

    rivals = {"scipy RK45": scipy_by("RK45", 1e-6)}
    if X.size <= 1000:
        rivals["scipy LSODA"] = scipy_by("LSODA", 1e-8)
    return {**rivals, **by_diffrax(R, X, end), **by_torchdiffeq(R, X, end), **by_numbalsoda(R, X, end)}


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
    torch.set_num_threads(1)
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
    if not numbalsoda or len(X) > 1:
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


def case(n: int, samples: int, condition: float, dtype: str, asymmetry: float, peers: bool, repeats: int) -> None:
    """Print one table, and how exact each rival was."""
    rng = np.random.default_rng(0)
    R = weights(n, condition, asymmetry, rng)
    X = rng.standard_normal((samples, n))
    rest = np.linalg.solve(R, X.T).T
    circuit = Circuit(R.astype(dtype))
    own = ours(circuit, X.astype(dtype))
    general = integrators(R, X, float(np.linalg.eigvals(R).real.min())) if peers else {}
    rivals = {**own, **lapack(R.astype(dtype), X.astype(dtype)), **general}
    off = {name: call().reshape(X.shape) - rest for name, call in rivals.items() if "product" not in name}
    worst = {name: (np.linalg.norm(e, axis=1) / np.linalg.norm(rest, axis=1)).max() for name, e in off.items()}
    title = f"n = {n}, batch {samples}, κ = {condition:g}, {dtype}" + (f", asymmetry {asymmetry}" if asymmetry else "")
    limit = next(name for name in rivals if "factor +" in name)
    table(title, interleaved(rivals, repeats), next(iter(own)), limit)
    found = settle(circuit, X.astype(dtype), TOL, relative=True)
    least = math.sqrt(condition) / 2 * math.log(2 / TOL)
    print(f"\nproducts {found.products.max()}, Chebyshev bound {least:.1f}; settled {found.settled.mean():.0%}")
    print("relative error: " + ", ".join(f"{name} {error:.0e}" for name, error in worst.items()))


def main() -> None:
    """Print all tables, or with --quick the first few."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    machine()
    case(32, 1, 4.0, "float64", 0.0, True, 7)
    case(256, 1, 4.0, "float64", 0.0, not quick, 5)
    case(256, 256, 4.0, "float64", 0.0, False, 3)
    if quick:
        return
    case(1000, 256, 4.0, "float64", 0.0, True, 3)
    for condition in (100.0, 1000.0):
        case(32, 1, condition, "float64", 0.0, condition == 100.0, 5)
        case(1000, 256, condition, "float64", 0.0, False, 3)
    for dtype, asymmetry in (("float32", 0.0), ("float64", 0.3)):
        for n, samples in ((32, 1), (1000, 1), (1000, 256)):
            case(n, samples, 4.0, dtype, asymmetry, False, 3)


if __name__ == "__main__":
    main()

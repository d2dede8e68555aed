"""Activity at 200 requested times, to 1e-7 of the largest, against general integrators.

Run: OPENBLAS_NUM_THREADS=1 python tests/benchmarks/trajectories.py [--quick | --many]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy.linalg
from bench import interleaved, machine, peer, table
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, PiecewiseConstant, integrate

FRAMES, END, TOL = 200, 10.0, 1e-7
LIMIT = "15 products, frames written"
Solver = Callable[[], np.ndarray]


def ours(circuit: Circuit, X: np.ndarray, t: np.ndarray) -> dict[str, Solver]:
    """Return our ways; bounds of the spectrum are known unless the name says so."""
    integrate(circuit, X[:1], END, "chebyshev", t)
    return {
        "integrate, kept": lambda: integrate(circuit, X, END, times=t).xbar,
        "integrate, one-shot": lambda: integrate(Circuit(circuit.R), X, END, times=t).xbar,
        "integrate, rk45": lambda: integrate(circuit, X, END, "rk45", t, rtol=TOL, atol=TOL / 100).xbar,
        "integrate, exponential": lambda: integrate(circuit, X, END, "exponential", t).xbar,
    }


def scipy_frames(R: np.ndarray, X: np.ndarray, t: np.ndarray) -> Solver:
    """RK45 with dense output at the requested times."""

    def slope(s: float, z: np.ndarray) -> np.ndarray:
        return (X - z.reshape(X.shape) @ R.T).ravel()

    def run() -> np.ndarray:
        y = solve_ivp(slope, (0, END), np.zeros(X.size), "RK45", t, rtol=TOL, atol=TOL / 100).y
        return y.T.reshape(len(t), *X.shape)

    return run


def scipy_one_by_one(R: np.ndarray, X: np.ndarray, t: np.ndarray) -> Solver:
    """RK45 for each sample in turn."""
    solvers = [scipy_frames(R, x[None], t) for x in X]
    return lambda: np.concatenate([run() for run in solvers], axis=1)


def diffrax_frames(R: np.ndarray, X: np.ndarray, t: np.ndarray, mapped: bool = False) -> dict[str, Solver]:
    """Tsit5 with interpolated output, compiled; mapped over the samples, or one system of them all."""
    diffrax, jax = peer("diffrax"), peer("jax")
    if not (diffrax and jax):
        return {}
    jax.config.update("jax_enable_x64", True)
    A, U, at = jax.numpy.asarray(R.T), jax.numpy.asarray(X), diffrax.SaveAt(ts=jax.numpy.asarray(t))
    controller = diffrax.PIDController(rtol=TOL, atol=TOL / 100)

    def solve(U: object) -> object:
        term, start = diffrax.ODETerm(lambda s, z, u: u - z @ A), jax.numpy.zeros_like(U)
        return diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, END, 0.01, start, U, saveat=at, stepsize_controller=controller
        ).ys

    run = jax.jit(jax.vmap(solve, out_axes=1) if mapped else solve)
    return {"diffrax Tsit5, mapped" if mapped else "diffrax Tsit5": lambda: np.asarray(run(U))}


def torchdiffeq_frames(R: np.ndarray, X: np.ndarray, t: np.ndarray) -> dict[str, Solver]:
    """Dormand–Prince of torchdiffeq with interpolated output."""
    torch, torchdiffeq = peer("torch"), peer("torchdiffeq")
    if not (torch and torchdiffeq):
        return {}
    A, U, times = torch.from_numpy(R.T.copy()), torch.from_numpy(X), torch.from_numpy(t)

    def run() -> np.ndarray:
        with torch.no_grad():
            return torchdiffeq.odeint(
                lambda s, z: U - z @ A, torch.zeros_like(U), times, rtol=TOL, atol=TOL / 100
            ).numpy()

    return {"torchdiffeq dopri5": run}


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error of a frame over the largest activity of its sample, worst sample."""
    exact = exact[:, : found.shape[1]]
    return float((np.linalg.norm(found - exact, axis=2) / np.linalg.norm(exact, axis=2).max(axis=0)).max())


def limit(R: np.ndarray, X: np.ndarray) -> Callable[[], object]:
    """Fewest products that reach the tolerance, and the frames written once into fresh memory."""

    def run() -> None:
        for _ in range(15):
            X @ R
        np.empty((FRAMES, *X.shape)).fill(1.0)

    return run


def case(n: int, samples: int, repeats: int) -> None:
    """Print one table, and how exact each rival was."""
    R, X, t, exact = symmetric(n, samples)
    rivals = ours(Circuit(R), X, t) | {LIMIT: limit(R, X), "scipy RK45": scipy_frames(R, X, t)}
    rivals |= diffrax_frames(R, X, t) | torchdiffeq_frames(R, X, t)
    show(f"{FRAMES} frames, n = {n}, batch {samples}, κ = 4, float64", rivals, exact, repeats, LIMIT)


def thousands(n: int, samples: int, repeats: int) -> None:
    """Print a table for many trajectories; rivals that take each alone solve a hundredth of them."""
    R, X, t, exact = symmetric(n, samples)
    share = X[: samples // 100]
    rivals = ours(Circuit(R), X, t) | {LIMIT: limit(R, X), "scipy RK45, all in one": scipy_frames(R, X, t)}
    rivals["scipy RK45, one by one, a hundredth"] = scipy_one_by_one(R, share, t)
    mapped = diffrax_frames(R, share, t, mapped=True)
    rivals |= diffrax_frames(R, X, t) | {f"{name}, a hundredth": call for name, call in mapped.items()}
    show(f"{FRAMES} frames, n = {n}, {samples} trajectories, κ = 4, float64", rivals, exact, repeats, LIMIT)


def non_normal(n: int, repeats: int) -> None:
    """Print a table for a circuit whose field of values reaches into the left half-plane."""
    rng = np.random.default_rng(0)
    R, X = np.eye(n) + 0.9 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal((1, n))
    t = np.linspace(0, END, FRAMES)
    rivals = ours(Circuit(R), X, t) | {"scipy RK45": scipy_frames(R, X, t)} | diffrax_frames(R, X, t)
    exact = rivals["integrate, exponential"]()
    show(f"{FRAMES} frames, n = {n}, batch 1, non-normal, float64", rivals, exact, repeats, None)


def symmetric(n: int, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return R with κ = 4, inputs, times, and the exact frames in closed form."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = np.geomspace(1, 4, n)
    R = (Q * values) @ Q.T
    R, X, t = (R + R.T) / 2, rng.standard_normal((samples, n)), np.linspace(0, END, FRAMES)
    modes = -np.expm1(-np.multiply.outer(t, values)) / values
    return R, X, t, (modes[:, None] * (X @ Q)) @ Q.T


def show(title: str, rivals: dict[str, Solver], exact: np.ndarray, repeats: int, most: str | None) -> None:
    """Print times and errors."""
    errors = {name: error(call(), exact) for name, call in rivals.items() if name != most}
    table(title, interleaved(rivals, repeats), "integrate, kept", most)
    print("\nrelative error: " + ", ".join(f"{name} {found:.0e}" for name, found in errors.items()))


def pieces(n: int, switches: int, repeats: int) -> None:
    """Print a table for an input that is constant from switch to switch."""
    rng = np.random.default_rng(0)
    R = np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)
    times, values = np.arange(switches, dtype=float), rng.standard_normal((switches, n))
    t, x, circuit = np.arange(1, switches + 1) - 0.0, PiecewiseConstant(times, values), Circuit(R)

    def slope(s: float, z: np.ndarray) -> np.ndarray:
        return values[min(int(s), switches - 1)] - R @ z

    def one_expm() -> np.ndarray:
        E, z, frames = scipy.linalg.expm(-R), np.zeros(n), []
        for u in values:
            rest = np.linalg.solve(R, u)
            z = rest + E @ (z - rest)
            frames.append(z)
        return np.array(frames)

    rivals = {
        "integrate, exponential": lambda: integrate(circuit, x, float(switches), "exponential", t).xbar,
        "one expm, then steps": one_expm,
        "scipy RK45": lambda: solve_ivp(slope, (0, switches), np.zeros(n), "RK45", t, rtol=TOL, atol=TOL / 100).y.T,
    }
    exact = one_expm()
    errors = {name: np.abs(call() - exact).max() / np.abs(exact).max() for name, call in rivals.items()}
    table(f"{switches} switches of the input, n = {n}", interleaved(rivals, repeats), "integrate, exponential")
    print("\nrelative error: " + ", ".join(f"{name} {error:.0e}" for name, error in errors.items()))


def main() -> None:
    """Print all tables, or with --quick the small ones, or with --many those of thousands of trajectories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--many", action="store_true")
    options = parser.parse_args()
    machine()
    if options.many:
        thousands(32, 10_000, 3)
        thousands(256, 1000, 3)
        return
    case(32, 1, 5)
    case(1000, 1, 3)
    pieces(32, 50, 3)
    if not options.quick:
        case(256, 256, 3)
        non_normal(1000, 3)


if __name__ == "__main__":
    main()

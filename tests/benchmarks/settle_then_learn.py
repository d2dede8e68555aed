"""Settle every sample under the current R, then learn: time per sample beside per-sample code, solve_ivp, and numpy.

Run: python tests/benchmarks/settle_then_learn.py [--quick | --full] [--threads 2] [--units 64 1000]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from bench import Timing, machine, table
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

from neurodecorr._numerics.jit import jit
from neurodecorr.circuit.bounds import Ellipse, recurrence
from neurodecorr.online import run_online
from neurodecorr.online.bounds import compute_bounds
from neurodecorr.online.circuit import longest_block
from neurodecorr.plasticity import LearningRule, initial_state

LOW, HIGH, TOL = 0.5, 2.0, 1e-6
# The peers' spectrum moves as they learn; this much room keeps it inside their fixed bounds.
ROOM = 1.05


def known_schedule():
    """The Chebyshev recurrence for bounds that the peers are given for nothing."""
    low, high = LOW / ROOM, HIGH * ROOM
    c, d = (high - low) / 2, (high + low) / 2
    return recurrence(Ellipse(d, c, c / (d + math.sqrt(low * high))), 200)


@jit()
def numba_rule(R, X, power, rate, memory, schedule, goal):
    """One sample after the other: Chebyshev steps with BLAS's matrix–vector product, one pass for update and gain."""
    n = R.shape[0]
    z, p = np.empty(n, R.dtype), np.empty(n, R.dtype)
    products = 0
    for t in range(X.shape[0]):
        x = X[t]
        for j in range(n):
            power[j] += memory * (x[j] * x[j] - power[j])
            p[j] = x[j] * schedule[0, 0]
            z[j] = p[j]
        for k in range(1, 200):
            product = np.dot(R, z)
            products += 1
            alpha, omega = schedule[min(k, schedule.shape[0] - 1)]
            a, o = R.dtype.type(alpha), R.dtype.type(omega)
            gap, size = z[0] * 0, z[0] * 0
            for j in range(n):
                r = x[j] - product[j]
                gap += r * r
                size += z[j] * z[j]
                p[j] = a * r + o * p[j]
                z[j] += p[j]
            if gap <= goal * goal * size:
                break
        eta = R.dtype.type(rate)
        g = np.empty(n, R.dtype)
        for j in range(n):
            g[j] = 1 / (1 + eta * power[j])
        for i in range(n):
            pull = eta * x[i]
            for j in range(n):
                R[i, j] = (R[i, j] + pull * z[j]) * g[j]
    return products


def ivp_rule(R, X, power, rate, memory):
    """The same with scipy's adaptive integrator and numpy's outer product, in double precision."""
    end = math.log(1 / TOL) / (LOW / ROOM)
    for x in X:
        power += memory * (x * x - power)
        xbar = solve_ivp(lambda t, z, x=x, R=R: x - R @ z, (0, end), x, rtol=TOL, atol=TOL * 1e-2).y[:, -1]
        R += rate * np.outer(x, xbar)
        R /= 1 + rate * power


def numpy_rule(R, X, power, rate, memory, schedule, goal, file=None, every=100, seen=0):
    """The whole loop in numpy: settle by Chebyshev-scheduled Euler steps, learn, record."""
    for x in X:
        power += memory * (x * x - power)
        p = schedule[0, 0] * x
        z = p.copy()
        for k in range(1, 200):
            gap = x - R @ z
            if gap @ gap <= goal**2 * (z @ z):
                break
            alpha, omega = schedule[min(k, len(schedule) - 1)]
            p = alpha * gap + omega * p
            z += p
        R += np.outer(rate * x, z)
        R /= 1 + rate * power
        seen += 1
        if file is not None and seen % every == 0:
            for name, value in (("xbar", z), ("residual", math.sqrt(gap @ gap))):
                file[name].resize(len(file[name]) + 1, axis=0)
                file[name][-1] = value


def circuit_with_known_spectrum(n, dtype, rng):
    """Symmetric R with eigenvalues from LOW to HIGH, κ = 4."""
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return ((Q * np.linspace(LOW, HIGH, n)) @ Q.T).astype(dtype)


def seconds_after_the_start(X, plan, state, engine="integrate"):
    """Return seconds per sample once the spectrum is known: the peers are given theirs for nothing."""
    begun, first = [], longest_block(X.shape[1])

    def blocks():
        yield X[:first]
        begun.append(time.perf_counter())
        yield X[first:]

    run_online(blocks(), plan, TOL, state=state, engine=engine)
    return (time.perf_counter() - begun[0]) / (len(X) - first)


def against_samples(n, samples, repeats, dtype=np.float32):
    """Ours against per-sample code, both from the same R and with the same rates."""
    rng = np.random.default_rng(0)
    R, X = circuit_with_known_spectrum(n, dtype, rng), rng.standard_normal((samples, n)).astype(dtype)
    rate = 1e-3 / n
    plan = LearningRule(rate=rate, schedule="constant", limit=None, rate_is="absolute", mean="none")
    begun = initial_state(X, plan)
    state = dataclasses.replace(begun, R=R, M=np.linalg.inv(R), power=np.ones(n, dtype), scale=1.0)
    schedule, goal = known_schedule(), dtype(0.5 * TOL * LOW / ROOM)
    few, fewer = X[: max(8, samples // 16)], X[:1].astype(float)
    power, own, wide = np.ones(n, dtype), R.copy(), R.astype(float)
    numba_rule(own, few[:1], power, rate, plan.memory, schedule, goal)
    run_online(X[:8], plan, TOL, state=state)
    rivals = {
        "neurodecorr, integrate": lambda: seconds_after_the_start(X, plan, state),
        "neurodecorr, twin": lambda: seconds_after_the_start(X, plan, state, "twin"),
        "per sample, numba + BLAS": lambda: seconds(
            lambda: numba_rule(own, few, power, rate, plan.memory, schedule, goal), len(few)
        ),
        "solve_ivp + outer": lambda: seconds(lambda: ivp_rule(wide, fewer, np.ones(n), rate, plan.memory), len(fewer)),
    }
    report(f"n = {n}, {np.dtype(dtype).name}, settle each sample to 1e-6 and learn", rivals, repeats)
    print(f"\nthe spectrum at the start: {seconds(lambda: compute_bounds(R, 0), 1):.2f} s")
    result = run_online(X, plan, TOL, state=state)
    found = numba_rule(R.copy(), few, power, rate, plan.memory, schedule, goal) / len(few)
    print(f"\nproducts a sample: {result.products:.1f} ours, {found:.1f} per sample; unproven {result.unproven}")


def seconds(call, count):
    """Return the seconds that one of `count` samples takes."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) / count


def report(title, rivals, repeats):
    """Let rivals take turns, and print times per sample."""
    found = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, measured in rivals.items():
            found[name].append(measured())
    table(
        title,
        {name: Timing(*np.percentile(times, [50, 25, 75])) for name, times in found.items()},
        ours=next(iter(rivals)),
    )


def stream(n, samples, block=10_000):
    """Yield correlated Gaussian samples in blocks: none of them need be in memory together."""
    rng = np.random.default_rng(1)
    mixing = circuit_with_known_spectrum(n, np.float64, rng)
    for begin in range(0, samples, block):
        yield rng.standard_normal((min(block, samples - begin), n)) @ mixing


def long_run(n, samples, numpy_samples):
    """Settle, learn and record a long stream, against the same loop in numpy on a shorter one."""
    plan = LearningRule(rate=1e-3, rate_is="absolute", mean="none", limit=None)
    X = next(stream(n, numpy_samples, numpy_samples))
    schedule, goal = known_schedule(), 0.5 * TOL * LOW / ROOM
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in ("twin", "integrate"):
            run_online(stream(n, 1000), plan, TOL, engine=engine)
            begin = time.perf_counter()
            result = run_online(stream(n, samples), plan, TOL, engine=engine, record=Path(folder) / f"{engine}.h5")
            seconds = time.perf_counter() - begin
            print(
                f"\n{engine}: {samples} samples in {seconds:.2f} s, {result.products:.1f} products a sample, "
                f"worst bound {result.worst:.1e}, unproven {result.unproven}"
            )
            found[f"neurodecorr, {engine}"] = Timing(*[seconds / samples] * 3)
        begin = time.perf_counter()
        for _ in stream(n, samples):
            pass
        print(f"making the stream: {(time.perf_counter() - begin) / samples * 1e6:.2f} µs a sample of that")
        with h5py.File(Path(folder) / "numpy.h5", "w") as file:
            file.create_dataset("xbar", (0, n), "f8", maxshape=(None, n), chunks=(64, n))
            file.create_dataset("residual", (0,), "f8", maxshape=(None,), chunks=(512,))
            begin = time.perf_counter()
            numpy_rule(np.eye(n), X, np.zeros(n), 1e-3, 1e-3, schedule, goal, file)
            seconds = time.perf_counter() - begin
        found[f"numpy loop, {numpy_samples} samples"] = Timing(*[seconds / numpy_samples] * 3)
    table(f"n = {n}, float64, learn + settle + record, per sample", found, ours="neurodecorr, twin")


def main():
    """Run the rows of the table in docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, a short numpy loop")
    parser.add_argument("--full", action="store_true", help="the long run with 10⁶ samples")
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads (default 1)")
    parser.add_argument("--units", type=int, nargs="+", default=[64, 1000, 3072], help="sizes (default 64 1000 3072)")
    options = parser.parse_args()
    machine()
    with threadpool_limits(options.threads, user_api="blas"):
        if 64 in options.units:
            long_run(64, 10**6 if options.full else 10**5, 2000 if options.quick else 20_000)
        for n in options.units:
            if n > 64:
                against_samples(n, 2048 if n < 2048 else 768, 2 if options.quick else 3)


if __name__ == "__main__":
    main()

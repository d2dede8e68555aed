"""Errors and seconds of the netlists in ngspice and gnucap, as rows of the table on the page about SPICE.

Run: python tests/benchmarks/spice.py [op|tran|learning|network ...]. R = I + 0.3 N/√n with N standard normal (not
symmetric), x standard normal, generator 0, τ = 20 ms.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, TwoPopulationCircuit, integrate
from neurodecorr.export import LearningCircuit, run_spice, write_spice
from neurodecorr.network import Decorrelation, Dense, Network

TAU = 0.02
KINDS = ("ota", "crossbar")
SIMULATORS = tuple(name for name in ("ngspice", "gnucap") if shutil.which(name))


def circuit_of(n):
    rng = np.random.default_rng(0)
    return Circuit(np.eye(n) + 0.3 * rng.standard_normal((n, n)) / math.sqrt(n), TAU), rng.standard_normal(n)


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def op(file):
    for n in (4, 16, 64, 256):
        circuit, x = circuit_of(n)
        for kind in KINDS:
            for simulator in SIMULATORS:
                found = run_spice(write_spice(circuit, x, file, kind, simulator, t_end_s=0))
                error = np.abs(found.op - np.linalg.solve(circuit.R, x)).max()
                row(n, f"`{kind}`", found.version, "`.op`", f"{error:.1e}", f"{found.seconds:.2f}")


def tran(file):
    for n, share in ((4, 200), (16, 200), (64, 200), (64, 20), (4, 1000), (16, 1000)):
        circuit, x = circuit_of(n)
        for kind in KINDS:
            for simulator in SIMULATORS:
                options = {"t_end_s": 10 * TAU, "step_s": TAU / share}
                found = run_spice(write_spice(circuit, x, file, kind, simulator, **options))
                course = _course(circuit, x, found)
                what = f"`.tran`, τ/{share}"
                row(n, f"`{kind}`", found.version, what, f"{course:.1e}", f"{found.seconds:.2f}")
    for n in (4, 16):
        circuit, x = circuit_of(n)
        pair = TwoPopulationCircuit(circuit.R, TAU)
        for kind in KINDS:
            found = run_spice(write_spice(pair, x, file, kind, t_end_s=10 * TAU, step_s=TAU / 200))
            course = _course(pair, x, found)
            what = "two populations, τ/200"
            row(n, f"`{kind}`", found.version, what, f"{course:.1e}", f"{found.seconds:.2f}")


def _course(circuit, x, found):
    times = found.t[found.t > 0]
    course = integrate(circuit, x, times[-1], "exponential", times=times)
    return np.abs(found.xbar[found.t > 0] - course.xbar).max()


def learning(file):
    for n in (4, 8, 16):
        rng = np.random.default_rng(0)
        mixing = np.eye(n) + 0.4 * rng.standard_normal((n, n)) / math.sqrt(n)
        X, dwell, tau_R = rng.standard_normal((40, n)) @ mixing.T, 0.1, 2.0
        power = np.mean(X * X, axis=0)
        for rule in ("implicit", "congruent"):
            found = run_spice(write_spice(LearningCircuit(np.eye(n), dwell, TAU, tau_R, rule), X, file))
            R = _learnt(X, dwell, tau_R, rule, power)
            nodes = [tuple(map(int, node[1:].split("_"))) for node in found.nodes["weight"]]
            ours = max(abs(found.expected[f"r{i}_{j}"] - found.weights()[-1][i, j]) for i, j in nodes)
            error = np.abs(found.weights()[-1] - R).max()
            what = f"`R` after 40 samples (ours {ours:.1e})"
            row(n, f"learning, {rule}", found.version, what, f"{error:.1e}", f"{found.seconds:.2f}")


def _learnt(X, dwell, tau_R, rule, power):
    """Return R by scipy, from the equations as they are written."""
    n = X.shape[1]
    z = np.concatenate([np.zeros(n), np.eye(n).ravel()])

    def slope(t, z, x):
        xbar, R = z[:n], z[n:].reshape(n, n)
        drive = R @ xbar
        growth, decay = np.outer(drive, xbar), R * power
        if rule == "congruent":
            growth, decay = (growth + growth.T) / 2, (decay + R * power[:, None]) / 2
        return np.concatenate([(x - drive) / TAU, (growth - decay).ravel() / tau_R])

    for x in X:
        z = solve_ivp(slope, (0, dwell), z, "DOP853", args=(x,), rtol=1e-9, atol=1e-11).y[:, -1]
    return z[n:].reshape(n, n)


def network(file):
    rng = np.random.default_rng(0)
    stack = [Dense(32, "relu"), Dense(32, "relu"), Dense(5, "identity")]
    net = Network(
        stack,
        32,
        loss="mse",
        decorrelation=Decorrelation("recurrent", rate=0.05, rule="explicit", rate_is="absolute"),
        dtype="float64",
    )
    X = rng.standard_normal((64, 32)) @ (np.eye(32) + 0.5 * rng.standard_normal((32, 32)) / math.sqrt(32)).T + 0.3
    for _ in range(20):
        net.decorrelate(net.forward(X, training=True).signals)
    system = net.as_circuit(TAU, TAU / 2)
    for simulator in SIMULATORS:
        found = run_spice(write_spice(system, X[0], file, simulator=simulator, t_end_s=20 * TAU))
        outputs = [found.operating[node] for node in found.nodes["output"]]
        error = np.abs(outputs - net.forward(X[:1]).output[0]).max()
        times = found.t[found.t > 0]
        course = system.integrate(X[:1], times[-1], times, rtol=1e-9)
        moved = np.abs(found.over_time("output")[found.t > 0] - course.activity[-1][:, 0]).max()
        row("32-32-32-5", "network", found.version, "`.op`", f"{error:.1e}", f"{found.seconds:.2f}")
        row("32-32-32-5", "network", found.version, "`.tran`, τ′/200", f"{moved:.1e}", f"{found.seconds:.2f}")


def main(names: list[str]) -> None:
    parts = {"op": op, "tran": tran, "learning": learning, "network": network}
    row("n", "netlist", "simulator", "what", "largest error", "seconds")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or parts:
            parts[name](Path(folder) / "netlist.cir")


if __name__ == "__main__":
    main(sys.argv[1:])

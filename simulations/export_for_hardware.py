"""
From weights to hardware, and back through other programs
=========================================================

The circuit of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, is that of Sun Z,
Pedretti G, Ambrosi E, Bricalli A, Wang W, Ielmini D (2019), "Solving matrix equations in one step with cross-point
resistive arrays", PNAS 116(10):4123–4128: conductances R, currents x, voltages x̄ = R⁻¹x. Here R is learnt.

A circuit learns to decorrelate image patches. It is exported as one bundle: weights in four formats, every connection,
NIR, SPICE, golden stimuli and responses. The bundle verifies itself; then each file is read by a program that knows
nothing of the others, and its response is held against the golden one.

Finding: the table of connections, NIR and the operating point of SPICE give the golden response to 1e-9 or better,
transients of ngspice and gnucap to 1e-4 (learnt from seed 0, judged on seed 1). What is lost is lost to fixed point.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.export import spice
from neurodecorr.export.bundle import Formats
from neurodecorr.export.nir import state_space

NAME = "export_for_hardware"
SIZE, SIZE_FULL = 4, 8  # side of a patch: 16 or 64 units
SAMPLES = 20_000
TAU_S = 0.02
BITS = 8
GOLDEN = 8  # held-out samples
SIMULATORS = ("ngspice", "gnucap")


def main(full: bool, out: Path) -> None:
    size = SIZE_FULL if full else SIZE
    learnt = nd.RecurrentDecorrelator(tau=TAU_S).fit(nd.data.natural_patches(size, SAMPLES, seed=0).inputs)
    drive = nd.data.natural_patches(size, GOLDEN, seed=1).inputs - learnt.mean_
    drive = drive[np.argsort(-np.ptp(drive, axis=1))]  # the patch with most contrast first: its course is drawn
    folder = nd.export.export_bundle(
        learnt.circuit_,
        drive,
        out / f"{NAME}-bundle",
        name="natural patches",
        mean=learnt.mean_,
        formats=Formats(bits=BITS),
    )
    golden = nd.export.load_bundle(folder).contents.golden
    rows, courses = [], {}
    read_weights(folder, golden, rows)
    read_nir(folder, golden, rows, courses)
    for simulator in SIMULATORS:
        read_spice(folder, golden, learnt.circuit_, simulator, rows, courses)

    with plt.rc_context(nd.plots.STYLE):
        nd.plots.save(nd.plots.reference_readers(golden.times, golden.course, courses), out, NAME)
    arrays = {
        "times_s": golden.times,
        "course": golden.course,
        **{f"course {name}": found for name, found in courses.items()},
    }
    table = {"file": [r[0] for r in rows], "reader": [r[1] for r in rows], "error": [r[3] for r in rows]}
    config = {"size": size, "samples": SAMPLES, "tau_s": TAU_S, "bits": BITS}
    nd.io.Result({**arrays, **table}, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")
    report(size, golden, rows)


def connections(path):
    """Read R from the table of its connections."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("u")]
    n = 1 + max(int(post[1:]) for _, post, *_ in rows)
    R = np.zeros((n, n))
    for pre, post, _, weight, _ in rows:
        R[int(post[1:]), int(pre[1:])] = float(weight)
    return R


def read_weights(folder, golden, rows):
    """Read the tables with numpy alone, and solve R x̄ = x."""
    fixed = nd.load_result(folder / "weights.npz").arrays
    pair = (fixed["G_plus_S"] - fixed["G_minus_S"]) / fixed["G_scale_S"]
    bits, fraction = fixed["fixed_bits"]
    weights = {
        "topology.csv": ("table of connections", connections(folder / "topology.csv")),
        "R.csv": ("numpy.genfromtxt", np.genfromtxt(folder / "R.csv", delimiter=",", skip_header=4)[:, 1:]),
        "weights.npz, G±": ("numpy, (G⁺ − G⁻)/s", pair),
        "weights.npz, fixed": (
            f"numpy, {bits} bits, 2^-{fraction}",
            np.ldexp(fixed["R_fixed"].astype(float), -fraction),
        ),
    }
    for file, (reader, R) in weights.items():
        rows.append((file, reader, "rest", apart(np.linalg.solve(R, golden.stimulus.T).T, golden.response)))


def read_nir(folder, golden, rows, courses):
    """Read the graph by the meaning of its nodes."""
    system = state_space(folder / "circuit.nir")
    rows.append(
        ("circuit.nir", "state space of the graph", "rest", apart(system.rest(golden.stimulus), golden.response))
    )
    found = system.respond(golden.stimulus[0], golden.times)
    rows.append(("circuit.nir", "state space of the graph", "time course", apart(found, golden.course)))
    courses["NIR, state space of the graph"] = found


def read_spice(folder, golden, circuit, simulator, rows, courses):
    """Run the netlist where the simulator is installed."""
    try:
        version = spice.runner.simulator_version(simulator)
    except nd.errors.ConfigError as error:
        rows.append(("circuit.cir", simulator, str(error), np.nan))
        return
    file = folder / "circuit.cir"
    if simulator == "gnucap":  # another dialect of the same netlist
        file = nd.export.write_spice(circuit, golden.stimulus[0], folder.parent / "gnucap.cir", simulator=simulator)
    ran = spice.run_spice(file, simulator)
    rows.append(("circuit.cir", version, "rest (.op)", apart(ran.op, golden.response[0])))
    # Points of the simulator lie closer than the golden ones; a cubic through four of them adds less than they err.
    found = np.column_stack([cubic(golden.times, ran.t, column) for column in ran.xbar.T])
    rows.append(("circuit.cir", version, "time course (.tran)", apart(found, golden.course)))
    courses[version] = found
    if simulator == "gnucap":
        file.unlink()


def cubic(times, t, values):
    """Return values at other times by cubics through the four nearest points."""
    first = np.clip(np.searchsorted(t, times) - 2, 0, len(t) - 4)[:, None] + np.arange(4)
    nodes, found = t[first], np.zeros(len(times))
    for k in range(4):
        others = np.delete(nodes, k, axis=1)
        found += values[first[:, k]] * np.prod((times[:, None] - others) / (nodes[:, [k]] - others), axis=1)
    return found


def apart(found, golden):
    return np.abs(found - golden).max() / np.abs(golden).max()


def report(size, golden, rows):
    print(
        f"natural patches {size} × {size}, {len(golden.course[0])} units, τ = {TAU_S:g} s, {GOLDEN} golden samples;",
        end=" ",
    )
    print(f"course to {golden.times[-1]:.3g} s; largest error over units, relative to the largest activity")
    print(f"{'file':20} {'read by':28} {'compared':22} error")
    print(f"{'all':20} {'load_bundle':28} {'checksums, formats':22} verified")
    for file, reader, what, error in rows:
        print(f"{file:20} {reader:28} {what:22} {error:.1e}" if error == error else f"{file:20} {reader:28} {what}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--full", action="store_true", help=f"{SIZE_FULL}² units instead of {SIZE}²; a minute")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder to write to")
    options = parser.parse_args()
    main(options.full, options.out)

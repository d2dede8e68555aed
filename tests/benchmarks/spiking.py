"""Spiking networks: the compiled engine beside Brian2 on numpy, Cython and C++ standalone, time to compile included.

Run: OPENBLAS_NUM_THREADS=1 python tests/benchmarks/spiking.py [--seconds 100] [--units 20]
The first call includes compilation where nothing is cached; Brian2 builds a program anew for each standalone run, so
there the next call includes it too. On numpy Brian2 runs a tenth of the time, as C++ three times the time. Seconds are
those of processors, children included: others may share the machine.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable

import numpy as np
from bench import machine

import neurodecorr as nd
from neurodecorr import spiking
from neurodecorr.errors import ConfigError

CONDITION, RATE, HALVING = 100.0, 2e-3, 10.0
RULE = spiking.LateralRule(RATE, HALVING)
INHIBITION = spiking.InhibitoryRule(1e-11)
ENGINES = (("compiled", "numpy"), ("brian2", "numpy"), ("brian2", "cython"), ("brian2", "cpp_standalone"))

LENGTHS = {("brian2", "numpy"): 0.1, ("brian2", "cpp_standalone"): 3.0}


def noise(units: int, seconds: float) -> spiking.Stimulus:
    """Return correlated noise of unit variance."""
    sigma = nd.data.gaussian_covariance(units, CONDITION, 0)
    sigma /= np.sqrt(np.outer(sigma.diagonal(), sigma.diagonal()))
    return spiking.ou_stimulus(sigma, round(seconds * 1000), seed=1)


def spent() -> float:
    """Return the processor seconds of this process and of the compilers and programs that it has run."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(call: Callable[[], spiking.runs.SpikeRun]) -> tuple[float, spiking.runs.SpikeRun]:
    """Return processor seconds and result of one call."""
    begin = spent()
    run = call()
    return spent() - begin, run


def compare(title: str, run: Callable[..., spiking.runs.SpikeRun], units: int, seconds: float) -> None:
    """Print what the first call costs, what the next one does before its first step, and each simulated second."""
    print(f"\n### {title}: {units} units, dt 0.1 ms\n")
    print(
        "| engine | first call (s) | next call (s) | per simulated second (s) | of | spikes as compiled | largest ΔR |"
    )
    print("|---|---|---|---|---|---|---|")
    for engine, target in ENGINES:
        options, name = {"engine": engine, "target": target}, engine if engine == "compiled" else f"Brian2, {target}"
        length = seconds * LENGTHS.get((engine, target), 1.0)
        short, long = noise(units, 0.01), noise(units, length)
        try:
            first, _ = timed(lambda options=options, short=short: run(short, **options))
        except ConfigError as error:
            print(f"| {name} | {error} | | | | | |")
            continue
        following, _ = timed(lambda options=options, short=short: run(short, **options))
        whole, found = timed(lambda options=options, long=long: run(long, **options))
        own = run(long, engine="compiled")
        same = found.spikes.step.shape == own.spikes.step.shape and (found.spikes.step == own.spikes.step).all()
        print(
            f"| {name} | {first:.2f} | {following:.3f} | {max(whole - following, 0) / length:.2g} | {length:g} s | "
            f"{'all' if same else 'no'} of {len(own.spikes)} | {np.abs(found.weights - own.weights).max():.1e} |",
            flush=True,
        )


def main(seconds: float, units: int) -> None:
    machine()
    start, cells = spiking.SpikeCode(np.eye(units)), spiking.LIFNetwork(np.zeros((units, units)))
    compare("Spike code, learning", lambda x, **options: spiking.run_code(start, x, RULE, **options), units, seconds)
    compare("LIF, Vogels rule", lambda x, **options: spiking.run_lif(cells, x, INHIBITION, **options), units, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=100.0, help="simulated time of the long run")
    parser.add_argument("--units", type=int, default=20)
    main(**vars(parser.parse_args()))

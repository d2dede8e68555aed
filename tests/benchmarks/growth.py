"""How time and memory grow with units, batch and samples: slopes in log–log, the expected ones beside them.

Run: python tests/benchmarks/growth.py [--quick] [--figure FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import Peak, machine, peak_memory
from threadpoolctl import threadpool_limits

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule, initial_state, learn

BATCH, FRAMES, SAMPLES, UNITS, SIDE = 64, 20, 500, 256, 64
CHUNK = 10_000
# Seconds that a size is run per turn, at least.
LEAST_SECONDS = 0.02
Call = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """What is done at each size, and the exponents of time and memory that its algorithm promises."""

    name: str
    along: str
    sizes: Sequence[int]
    prepare: Callable[[int], Call]
    time: str
    memory: str


@dataclass(frozen=True)
class Growth:
    """What a job took at each size."""

    job: Job
    seconds: np.ndarray  # (turns, sizes)
    peaks: list[Peak]


def circuit(n: int) -> nd.Circuit:
    """Return a circuit of condition 4, its spectrum known."""
    noise = np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(2 * n)
    made = nd.Circuit(np.eye(n) + 0.3 * (noise + noise.T))
    nd.settle(made, np.ones(n))
    return made


def inputs(samples: int, n: int) -> np.ndarray:
    """Return samples whose neighbouring units are correlated."""
    X = np.random.default_rng(1).standard_normal((samples, n))
    return X + 0.5 * np.roll(X, 1, axis=1)


def settling(method: str, n: int, batch: int) -> Call:
    """Settle a batch; factors are made anew, bounds of the spectrum are known."""
    made, X = circuit(n), inputs(batch, n)

    def call() -> object:
        vars(made).pop("factors", None)
        return nd.settle(made, X, relative=True, method=method)

    return call


def one_by_one(n: int) -> Call:
    """Settle single samples with a circuit that is kept."""
    made, x = circuit(n), inputs(1, n)[0]
    for _ in range(n // 32):  # then it keeps its inverse
        nd.settle(made, x, relative=True)
    return lambda: nd.settle(made, x, relative=True)


def integrating(n: int, batch: int, frames: int) -> Call:
    """Integrate a batch to ten time constants with frames on the way."""
    made, X, times = circuit(n), inputs(batch, n), np.linspace(0, 10, frames)
    nd.integrate(made, X[:1], 10.0, times=times)
    return lambda: nd.integrate(made, X, 10.0, times=times)


def learning(engine: str, n: int, samples: int) -> Call:
    """Learn R from single samples, the inspections of its stability included."""
    X, plan = inputs(samples, n), LearningRule(rate=1e-3, engine=engine)
    state = initial_state(X, plan)
    return lambda: learn(state, X, plan)


def masked(n: int, samples: int) -> Call:
    """Learn on 100 synapses a unit; n is rounded to a square."""
    side = round(n**0.5)
    state = nd.plasticity.initial_sparse_state(nd.circuit.sparse.grid_neighbours((side, side), 100, torus=True))
    X, plan = inputs(samples, side * side), nd.plasticity.SparseLearningRule(tol=1e-3)
    return lambda: nd.plasticity.learn_sparse(state, X, plan)


def closed_form(n: int) -> Call:
    """Return M* of a covariance."""
    sigma = nd.data.gaussian_covariance(n, 100.0, 0)
    return lambda: nd.plasticity.decorrelating_matrix(sigma)


def comparing(n: int, samples: int) -> Call:
    """Compare the forms, one process."""
    dataset = nd.data.correlated_gaussian(n, samples, 10.0, 0)
    return lambda: nd.compare(dataset, rate=1e-2, draws=2)


def streaming(samples: int) -> Call:
    """Learn from a stream that is never held, in chunks of 10⁴ samples."""

    def call() -> object:
        model, rng = nd.RecurrentDecorrelator(), np.random.default_rng(0)
        for _ in range(samples // CHUNK):
            model.partial_fit(rng.standard_normal((CHUNK, SIDE)))
        return model

    return call


def jobs(quick: bool) -> list[Job]:
    """Return what is measured; each line says what grows, through which sizes, and the exponents expected."""
    n = (256, 384, 512) if quick else (512, 768, 1024, 1536, 2048)
    cubic = (256, 384, 512) if quick else (256, 384, 512, 768, 1024)
    many = (1024, 2048, 4096) if quick else (1024, 2048, 4096, 8192, 16384)
    long = (2000, 4000, 8000) if quick else (4000, 8000, 16_000, 32_000, 64_000)
    sparse = (2500, 4900, 10_000) if quick else (6400, 12_544, 25_600, 50_176, 100_489)
    stream = (20_000, 50_000, 100_000) if quick else (50_000, 100_000, 200_000, 500_000, 1_000_000)
    few, short = ((16, 32, 64), (1000, 2000, 4000)) if quick else ((32, 64, 128), (4000, 8000, 16_000))
    return [
        Job("settle", "n", n, lambda k: settling("auto", k, BATCH), "2", "≤ 2"),
        Job("settle, direct", "n", cubic, lambda k: settling("direct", k, BATCH), "3", "2"),
        Job("settle, kept, one sample", "n", n, one_by_one, "2", "1"),
        Job("integrate", "n", n[:3] if quick else n[:4], lambda k: integrating(k, 4, FRAMES), "2", "1"),
        *(
            Job(f"learn, {engine}", "n", n, lambda k, engine=engine: learning(engine, k, SAMPLES), "2", "2")
            for engine in ("plain", "fused", "delayed")
        ),
        Job("learn_masked, 100 synapses a unit", "n", sparse, lambda k: masked(k, 10), "1", "1"),
        Job("decorrelating_matrix", "n", cubic, closed_form, "3", "2"),
        Job("compare", "n", few, lambda k: comparing(k, short[0]), "2–3", "2"),
        Job("settle", "batch", many, lambda k: settling("auto", UNITS, k), "1", "1"),
        Job("settle, direct", "batch", many, lambda k: settling("direct", UNITS, k), "1", "1"),
        Job("integrate", "batch", (64, 128, 256), lambda k: integrating(64, k, FRAMES), "1", "1"),
        *(
            Job(f"learn, {engine}", "samples", long, lambda k, engine=engine: learning(engine, SIDE, k), "1", "0")
            for engine in ("plain", "fused", "delayed")
        ),
        Job("learn_masked", "samples", long[:3], lambda k: masked(400, k), "1", "0"),
        Job("compare", "samples", short, lambda k: comparing(16, k), "≤ 1", "≤ 1"),
        Job("partial_fit, chunks of 10⁴", "samples", stream, streaming, "1", "0"),
    ]


def measured(job: Job, turns: int) -> Growth:
    """Take the peak of memory at each size, then time all sizes in turn."""
    calls = [job.prepare(size) for size in job.sizes]
    calls[0]()  # compiles, and fills what is kept between calls
    peaks = [peak_memory(call) for call in calls]
    counts = [max(1, round(LEAST_SECONDS / seconds(call, 1))) for call in calls]
    found = [[seconds(call, count) for call, count in zip(calls, counts, strict=True)] for _ in range(turns)]
    return Growth(job, np.array(found), peaks)


def seconds(call: Call, count: int) -> float:
    """Return the seconds per call."""
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return max(time.perf_counter() - begin, 1e-9) / count


def slopes(sizes: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Return the least-squares slope in log–log of each row of values."""
    return np.polyfit(np.log(sizes), np.log(values).T, 1)[0]


def slope_and_error(sizes: Sequence[int], values: Sequence[int]) -> tuple[float, float]:
    """Return the least-squares slope in log–log and its standard error."""
    x, y = np.log(sizes), np.log(values)
    slope, height = np.polyfit(x, y, 1)
    rest = y - slope * x - height
    return float(slope), float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / np.sum((x - x.mean()) ** 2)))


def row(growth: Growth) -> str:
    """Return one line of the table."""
    job, exponent = growth.job, slopes(growth.job.sizes, growth.seconds)
    slope, error = slope_and_error(job.sizes, [peak.traced for peak in growth.peaks])
    cells = [job.name, job.along, f"{job.sizes[0]:,}–{job.sizes[-1]:,}"]
    cells += [f"{np.median(exponent):.2f} ± {np.std(exponent):.2f}", job.time]
    cells += [f"{slope:.2f} ± {error:.2f}", job.memory, f"{np.median(growth.seconds[:, -1]):.3g} s"]
    last = growth.peaks[-1]
    return "| " + " | ".join([*cells, f"{last.traced / 2**20:.3g}, {last.resident / 2**20:.3g} MiB"]) + " |"


def draw(grown: list[Growth], folder: Path) -> None:
    """Draw time and traced memory of every job against its size, with one legend under each column."""
    import matplotlib.pyplot as plt

    from neurodecorr.plots.style import label_decades

    with plt.rc_context(nd.plots.STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(10, 8), sharex="col")
        for (above, below), along in zip(axes.T, ("n", "batch", "samples"), strict=True):
            chosen = [growth for growth in grown if growth.job.along == along]
            for k, growth in enumerate(chosen):
                style = {"marker": "o^sDvPXd<>"[k], "color": plt.get_cmap("viridis")(0.9 * k / max(len(chosen), 2))}
                sizes, took = growth.job.sizes, np.median(growth.seconds, axis=0)
                above.loglog(sizes, took, label=growth.job.name, **style)
                below.loglog(sizes, [peak.traced / 2**20 for peak in growth.peaks], **style)
            above.set_title(f"Growth with {along}")
            for panel in (above, below):
                label_decades(panel, "y")
            label_decades(below, "x")
            below.set_xlabel(along)
            below.legend(*above.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
        axes[0, 0].set_ylabel("time (s)")
        axes[1, 0].set_ylabel("peak memory (MiB, traced)")
    for path in nd.plots.save(figure, folder, "growth"):
        print(path)


def main() -> None:
    """Print the table of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few turns")
    parser.add_argument("--figure", type=Path, help="folder for growth.png and growth.svg")
    parser.add_argument("--only", default="", help="jobs whose name or axis contains this")
    options = parser.parse_args()
    machine()
    print("\n| job | along | sizes | time, exponent | expected | memory, exponent | expected | time, largest |", end="")
    print(" memory, largest: traced, resident |\n|---|---|---|---|---|---|---|---|---|")
    grown = []
    with threadpool_limits(1, user_api="blas"):
        for job in jobs(options.quick):
            if options.only in f"{job.name} {job.along}":
                grown.append(measured(job, 2 if options.quick else 3))
                print(row(grown[-1]), flush=True)
    if options.figure:
        draw(grown, options.figure)


if __name__ == "__main__":
    main()

"""Online local learning, one sample at a time: time per sample beside numpy, torch, similarity matching and one pass.

Run: python tests/benchmarks/online.py [--quick] [--threads 2] [--sizes 32 256]
BLAS's kernel and its largest number of threads are the environment's: OPENBLAS_CORETYPE, OPENBLAS_NUM_THREADS.
"""

from __future__ import annotations

import argparse

import numpy as np
from bench import Timing, gemm_rate, interleaved, machine, peer, table
from threadpoolctl import threadpool_limits

from neurodecorr.plasticity import LearningRule, initial_state, learn

RATE, MEMORY = 1e-3, 1e-3
# Samples by number of units; from DELAYED units on, learning M is three products of a matrix with a block of samples.
SAMPLES = {32: 102_400, 256: 20_480, 1000: 4096, 3072: 1024}
QUICK = {32: 20_480, 256: 4096}
DELAYED = 256


def numpy_rule(M, X, power, rate):
    """The implicit rule with homeostatic gain as one writes it in numpy."""
    for x in X:
        power += MEMORY * (x * x - power)
        xbar = M @ x
        M -= np.outer(rate / (1 + rate * xbar @ xbar) * xbar, xbar @ M)
        M *= (1 + rate * power)[:, None]


def torch_rule(torch, M, X, power, rate):
    """The same with torch's in-place outer product."""
    for x in X:
        power.lerp_(x * x, MEMORY)
        xbar = M @ x
        M.addr_(xbar, xbar @ M, alpha=-float(rate / (1 + rate * (xbar @ xbar))))
        M.mul_((1 + rate * power)[:, None])


def similarity_matching(W, Q, X, D):
    """Online similarity matching with its lateral network solved exactly (Pehlevan et al. 2015), in numpy."""
    identity = np.eye(len(W))
    for x in X:
        y = np.linalg.solve(identity + Q, W @ x) if len(W) <= 64 else W @ x - Q @ (W @ x)
        D += y * y
        W += (y / D)[:, None] * (x - y[:, None] * W)
        Q += (y / D)[:, None] * (y - y[:, None] * Q)
        np.fill_diagonal(Q, 0)


def run(n, samples, dtype, repeats, threads):
    """Time every rival on the same samples; peers get fewer of them, the time is per sample."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, n)).astype(dtype)
    few = X[: max(8, samples // 50)]
    rate = dtype(RATE / n)
    states = {}
    for form, rule in (("feedforward", "implicit"), ("recurrent", "implicit"), ("recurrent", "congruent")):
        plan = LearningRule(form=form, rule=rule, rate=RATE / n, schedule="constant", limit=None, rate_is="absolute")
        states[form, rule] = (initial_state(X, plan), plan)
    rivals = {
        f"neurodecorr, {'M' if form == 'feedforward' else 'R'} {rule}": (
            lambda state=state, plan=plan: learn(state, X, plan),
            samples,
        )
        for (form, rule), (state, plan) in states.items()
    }
    M, power = np.eye(n, dtype=dtype), np.ones(n, dtype)
    rivals["numpy, outer"] = (lambda: numpy_rule(M, few, power, rate), len(few))
    W, Q, D = np.eye(n, dtype=dtype), np.zeros((n, n), dtype), np.full(n, 100.0, dtype)
    rivals["online similarity matching, numpy"] = (lambda: similarity_matching(W, Q, few, D), len(few))
    torch = peer("torch")
    if torch is not None:
        torch.set_num_threads(threads)
        Mt, Xt = torch.eye(n, dtype=getattr(torch, np.dtype(dtype).name)), torch.from_numpy(few)
        pt = torch.ones(n, dtype=Mt.dtype)
        rivals["torch, in place (addr_)"] = (lambda: torch_rule(torch, Mt, Xt, pt, float(rate)), len(few))
    A = np.eye(n, dtype=dtype)
    rivals["limit: one read+write pass"] = (lambda: np.negative(A, out=A), 1)
    timed = interleaved({name: call for name, (call, _) in rivals.items()}, repeats)
    found = {name: per_sample(timing, rivals[name][1]) for name, timing in timed.items()}
    if n >= DELAYED:
        seconds = 6 * n * n / gemm_rate(np.dtype(dtype).name)
        found["limit: three matrix products, 6n²"] = Timing(seconds, seconds, seconds)
    table(
        f"n = {n}, {np.dtype(dtype).name}, {threads} BLAS thread(s), per sample",
        found,
        ours="neurodecorr, M implicit",
        limit="limit: one read+write pass",
    )


def per_sample(timing, samples):
    """Return a timing of one call as that of one sample."""
    return Timing(timing.median / samples, timing.low / samples, timing.high / samples)


def main():
    """Run the sizes of the table in docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads (default 1)")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of units (default 32 256 1000 3072)")
    parser.add_argument("--types", nargs="+", default=["float64", "float32"], help="(default float64 float32)")
    options = parser.parse_args()
    samples = QUICK if options.quick else SAMPLES
    with threadpool_limits(options.threads, user_api="blas"):
        machine()
        for n in options.sizes or samples:
            for name in options.types:
                run(n, samples[n], np.dtype(name).type, 3 if options.quick else 5, options.threads)


if __name__ == "__main__":
    main()

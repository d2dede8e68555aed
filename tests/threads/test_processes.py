"""Processes that begin after threads have run, and layers of threads that only one thread may enter.

Each script runs in a process of its own with a limit on its time: what is tested here hung, or ended the process.
"""

import importlib

import pytest

pytestmark = pytest.mark.threads

# Every kernel that runs on threads, and BLAS on threads: 520 units are above its limit.
WORK = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import scipy.sparse

import neurodecorr as nd
from neurodecorr._numerics import jit, sparse as _sparse
from neurodecorr.hardware import Devices, in_situ

_sparse.MANY_SYNAPSES = 1000
rng = np.random.default_rng(0)
dense = nd.Circuit(np.eye(64) * 2 + rng.standard_normal((64, 64)) / 30)
large = nd.Circuit(np.eye(520) * 3 + rng.standard_normal((520, 520)) / 50)
synapses = nd.circuit.sparse.grid_neighbours((30, 30), 4)
sparse = nd.SparseCircuit(6.0 * scipy.sparse.eye_array(900) - synapses)
X, X520, X900 = (rng.standard_normal((shape)) for shape in ((80, 64), (2, 520), (2, 900)))
R = np.array([[2.0, 0.5], [0.3, 1.5]])


def chips():
    found = in_situ.learning_chips(R, Devices(), in_situ.PulsedSynapse(), 4, 0, 5e-6, 0.0)
    in_situ.learn_in_situ(found, X[:50, :2], in_situ.PulsedSynapse(), in_situ.InSituRule())
    return found.weights()


def work(_):
    return [
        nd.integrate(dense, X, 1.0, "rk45", times=[1.0]).xbar,
        nd.integrate(dense, X, 1.0, "rk4", times=[1.0], dt=0.1).xbar,
        nd.settle(dense, X, 1e-8, method="rk45").xbar,
        nd.settle(sparse, X900, 1e-8).xbar,
        nd.plasticity.learn_sparse(
            nd.plasticity.initial_sparse_state(synapses), X900, nd.plasticity.SparseLearningRule()
        ).weights.toarray(),
        chips(),
        nd.settle(large, X520, 1e-8, method="direct").xbar,
    ]


def same(ours, theirs):
    return all(np.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def right(found):
    rest = [np.linalg.solve(dense.R, X.T).T, np.linalg.solve(sparse.R.toarray(), X900.T).T]
    rest += [np.linalg.solve(large.R, X520.T).T]
    return all(np.abs(a - b).max() < 1e-6 for a, b in zip((found[2], found[3], found[6]), rest, strict=True))
"""
POOL = (
    WORK
    + """
if __name__ == "__main__":
    alone = work(0)
    assert right(alone) and numba.threading_layer() == sys.argv[2], numba.threading_layer()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        others = pool.map_async(work, range(4)).get(200)
    print(all(same(alone, other) for other in others), same(alone, work(0)), jit.threads_work())
"""
)
JOBS = (
    WORK
    + """
from joblib import Parallel, delayed

model = nd.RecurrentDecorrelator(epochs=1).fit(X)
for _ in range(9):
    nd.settle(dense, X[0], 1e-8)  # enough for it to keep its inverse


def use(k):
    return [nd.settle(dense, X, 1e-8, method="direct").xbar, model.transform(X), *work(k)]


if __name__ == "__main__":
    alone = use(0)
    others = Parallel(2, backend=sys.argv[1])(delayed(use)(k) for k in range(4))
    print(all(same(alone, other) for other in others))
"""
)
LAYER = (
    WORK
    + """
if __name__ == "__main__":
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(8)))
    alone = work(0)
    print(numba.threading_layer(), right(alone) and all(same(alone, other) for other in found))
"""
)


def layer_or_skip(name, module):
    """A layer of numba's, skipped where its library is not there."""
    try:
        importlib.import_module(f"numba.np.ufunc.{module}")
    except ImportError:
        return pytest.param(name, marks=pytest.mark.skip(reason=f"needs the library of layer {name}"))
    return name


LAYERS = [layer_or_skip("omp", "omppool"), "workqueue", layer_or_skip("tbb", "tbbpool")]


def begun_after_threads(script, start, layer):
    found = script(POOL, start, layer, NUMBA_THREADING_LAYER=layer)
    return found.split() == ["True", "True", str(layer in ("omp", "tbb"))]


@pytest.mark.parametrize("layer", LAYERS)
def test_processes_forked_after_threads_ran_give_the_same_numbers(script, layer):
    assert begun_after_threads(script, "fork", layer)


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_fresh_processes_give_the_same_numbers(script, start):
    assert begun_after_threads(script, start, "omp")


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib_gives_the_same_numbers_by_every_backend(script, backend):
    assert script(JOBS, backend).split() == ["True"]


@pytest.mark.parametrize("layer", LAYERS)
def test_threads_may_call_what_runs_on_threads_whatever_the_layer(script, layer):
    assert script(LAYER, NUMBA_THREADING_LAYER=layer).split() == [layer, "True"]


def test_a_child_forked_before_any_threads_ran_has_its_own(script):
    found = script(
        """
        import os
        import neurodecorr as nd
        from neurodecorr._numerics.jit import threads_work
        from neurodecorr.circuit import kernels
        if os.fork() == 0:
            os._exit(0 if threads_work() else 1)
        print(os.waitstatus_to_exitcode(os.wait()[1]), threads_work())
        if os.fork() == 0:
            os._exit(1 if threads_work() else 0)
        print(os.waitstatus_to_exitcode(os.wait()[1]), threads_work())
        """,
        NUMBA_THREADING_LAYER="omp",
    )
    assert found.split() == ["0", "True", "0", "True"]


def test_kernels_on_threads_run_as_plain_python_where_nothing_is_compiled(script):
    found = script(
        """
        import numpy as np
        from neurodecorr._numerics.jit import jit, only, prange
        from neurodecorr._numerics.sparse import Rows, product_on_threads

        @jit(parallel=True)
        def double(x):
            for i in prange(x.size):
                x[i] *= 2

        x, out = np.ones(3), np.empty(2)
        double(x)
        product_on_threads(Rows(np.ones(3), np.array([0, 1, 2]), np.array([0, 1, 3])), x, out, np.array([0, 1, 2]))
        print(only(double, x) is double, x.sum(), out)
        """,
        NUMBA_DISABLE_JIT="1",
    )
    assert found.split() == ["True", "6.0", "[2.", "4.]"]

"""What the door to numba promises of kernels on threads."""

import importlib
import inspect
import pkgutil

import neurodecorr
from neurodecorr._numerics.jit import OnThreads


def kernels():
    """Every module that holds kernels, and what it calls by which name."""
    for module in pkgutil.walk_packages(neurodecorr.__path__, "neurodecorr."):
        if "kernels" in module.name or module.name.rpartition(".")[2] in ("sparse", "descent"):
            yield importlib.import_module(module.name)


def test_compiled_callers_of_kernels_on_threads_are_told_where_rows_are_cut():
    callers = []
    for module in kernels():
        threaded = {name for name, value in vars(module).items() if isinstance(value, OnThreads)}
        for name, value in vars(module).items():
            function = getattr(value, "py_func", None)
            if function is None or name in threaded or not threaded & set(function.__code__.co_names):
                continue
            callers.append(name)
            assert "cuts" in inspect.signature(function).parameters
            assert "cuts.size > 2" in inspect.getsource(function)
    assert {"march_sparse", "sparse_product", "learn_rows"} <= set(callers)

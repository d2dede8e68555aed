"""`doctor`: what is installed, how many threads, and whether compiled kernels can be kept."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from typing import Any

import click

# Extra of the package: the module that shows whether it is there.
EXTRAS = {"brian2": "brian2", "nir": "nir", "torch": "torch", "dask": "distributed", "xarray": "xarray"}
MARGIN = 14


@click.command(short_help="Say what is installed, and where kernels are cached.")
def doctor() -> None:
    """Print versions, BLAS and threads, where compiled kernels are cached, and which extras are installed."""
    from neurodecorr.io import provenance

    record = provenance({}, 0)
    for head, words in _lines(record):
        click.echo(f"{head:<{MARGIN}}{words}")


def _lines(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, version or "not installed") for name, version in record["versions"].items())
    for library in record["blas"]:
        yield "BLAS", f"{library['name']} {library['version']} ({library['kernel']}), {library['threads']} thread(s)"
    limits = ", ".join(f"{name}={value}" for name, value in record["thread_limits"].items())
    yield "processors", f"{record['cpus']}{f'; {limits}' if limits else ''}"
    yield "platform", f"{record['platform']['system']} {record['platform']['machine']}"
    yield "kernel cache", _cache()
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield f"[{extra}]", _version(module) if there else f"not installed; pip install 'neurodecorr[{extra}]'"


def _version(module: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return f"installed, {importlib.metadata.version(module)}"
    return "installed"


def _cache() -> str:
    """Ask a compiled kernel where it is kept."""
    from neurodecorr.plasticity import steps

    compiled: Any = steps.learn_stream
    if not hasattr(compiled, "stats"):
        return "none: NUMBA_DISABLE_JIT is set, so kernels run uncompiled, some hundred times slower."
    place = compiled.stats.cache_path
    if place is None:
        return "none: no writable folder, so kernels compile anew in each process. Set NUMBA_CACHE_DIR."
    return f"writable, {place}"

"""Describe how a result was made: configuration, seed, versions, threads, source revision, time."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import threadpoolctl

from neurodecorr._validation import mapping, number, whole_seed
from neurodecorr.errors import ConfigError
from neurodecorr.io.json import canonical_json, plain

PACKAGES = ("neurodecorr", "numpy", "scipy", "numba", "scikit-learn", "h5py", "matplotlib")
# The number of threads decides the order of sums, and with it the last bits of a result.
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_id(config: Mapping[str, Any]) -> str:
    """Return the name of a run: a hash of its resolved configuration.

    ::

        id = first 16 hex digits of SHA-256(canonical JSON of the configuration)

    Equal configurations give equal names, whatever the order of their keys and on every machine.

    Parameters
    ----------
    config : mapping
        The resolved configuration, seed included.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Raises
    ------
    InputError
        If the configuration holds something JSON has no form for.

    Examples
    --------
    >>> run_id({"rate": 1e-3, "seed": 0}) == run_id({"seed": 0, "rate": 0.001})
    True
    >>> run_id({})
    '44136fa355b3678a'

    References
    ----------
    NIST (2015), FIPS 180-4 (SHA-256).
    """
    return hashlib.sha256(canonical_json(mapping(config, "config"), "config").encode()).hexdigest()[:16]


def provenance(config: Mapping[str, Any], seed: int, started: float | None = None) -> dict[str, Any]:
    """Describe how a result was made, in plain JSON types.

    It holds no host name, no user name and no path of the machine; what `config` holds is kept as it is.

    Parameters
    ----------
    config : mapping
        The resolved configuration.
    seed : int
        The seed of the run, ≥ 0.
    started : float, optional
        `time.perf_counter()` read when the run started, in seconds; gives `wall_seconds`.

    Returns
    -------
    dict
        `run_id`, `config`, `seed`, `versions`, `blas` (name, version, kernel, threads), `thread_limits`, `cpus`,
        `platform`, `git_commit` (None outside a checkout), `wall_seconds` (None without `started`), `written_utc`.

    Raises
    ------
    InputError
        If the configuration holds something JSON has no form for.
    ConfigError
        If `seed` is not a whole number ≥ 0, or `started` lies in the future of `time.perf_counter()`.

    Examples
    --------
    >>> record = provenance({"rate": 1e-3}, seed=7)
    >>> record["config"], record["seed"], record["wall_seconds"]
    ({'rate': 0.001}, 7, None)
    """
    return {
        "run_id": run_id(config),
        "config": plain(config, "config"),
        "seed": whole_seed(seed),
        "versions": {"python": platform.python_version(), **{name: package_version(name) for name in PACKAGES}},
        "blas": _blas(),
        "thread_limits": _thread_limits(),
        "cpus": os.cpu_count(),
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "git_commit": _git_commit(Path(__file__).resolve().parents[2]),
        "wall_seconds": None if started is None else _elapsed(started),
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def package_version(package: str) -> str | None:
    """Return the version of an installed package, or None; of this package, the version that runs.

    Parameters
    ----------
    package : str
        Its name.

    Returns
    -------
    str or None
        "0.1.0".
    """
    if package == "neurodecorr":  # the code that runs, also from a checkout beside an installed copy
        return str(importlib.import_module("neurodecorr").__version__)
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> list[dict[str, Any]]:
    """Describe every BLAS in the process; the file it was loaded from is left out, being a path of the machine."""
    libraries = [library for library in threadpoolctl.threadpool_info() if library.get("user_api") == "blas"]
    return [
        {
            "name": library.get("internal_api"),
            "version": library.get("version"),
            "kernel": library.get("architecture"),
            "threads": library.get("num_threads"),
        }
        for library in libraries
    ]


def _thread_limits() -> dict[str, int]:
    found = {name: os.environ.get(name, "") for name in THREAD_LIMITS}
    return {name: int(value) for name, value in found.items() if value.isdecimal()}


def _elapsed(started: float) -> float:
    elapsed = time.perf_counter() - number(started, "started", "seconds")
    if elapsed < 0:
        raise ConfigError(
            f"started must be a past reading of time.perf_counter(), in seconds; got {started!r}, {-elapsed:.3g} s "
            "ahead of it."
        )
    return elapsed


def _git_commit(checkout: Path) -> str | None:
    """Read the commit of `checkout` from its .git folder; None where there is none."""
    try:
        folder = _git_folder(checkout)
        head = (folder / "HEAD").read_text("utf-8").strip()
        commit = _resolve(folder, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except (OSError, UnicodeDecodeError):
        return None
    return commit if commit and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit) else None


def _git_folder(checkout: Path) -> Path:
    """Return .git itself, or what a linked work tree's .git file points to."""
    git = checkout / ".git"
    if git.is_file():
        return checkout / git.read_text("utf-8").strip().removeprefix("gitdir: ")
    return git


def _resolve(folder: Path, reference: str) -> str | None:
    """Look a branch up: a file of its own, or a line of packed-refs; linked work trees share both."""
    shared = folder / "commondir"
    roots = [folder, folder / shared.read_text("utf-8").strip()] if shared.is_file() else [folder]
    for root in roots:
        if (root / reference).is_file():
            return (root / reference).read_text("utf-8").strip()
        if (root / "packed-refs").is_file():
            lines = (root / "packed-refs").read_text("utf-8").splitlines()
            for line in lines:
                if line.endswith(f" {reference}"):
                    return line.split(" ", 1)[0]
    return None

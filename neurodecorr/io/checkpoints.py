"""Checkpoints and results of a long run: written whole or not at all, and read with suspicion."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr._numerics.blas import threads
from neurodecorr._typing import AnyArray
from neurodecorr.errors import CheckpointError
from neurodecorr.io.atomic import require_writable
from neurodecorr.io.npz import Result, load_result
from neurodecorr.io.provenance import provenance

CHECKPOINT = "checkpoint.npz"
RESULT = "result.npz"


class CheckpointWriter:
    """Writer and reader of the checkpoints and the result of a run.

    Parameters
    ----------
    folder : path or None
        Where they lie; None: nothing is written.
    run : mapping of str to str or number
        What decides the numbers of the run; a checkpoint of another one is refused.
    config : mapping
        Kept in the files beside it.
    seed : int
        Of the run, for its provenance.
    arrays : str
        The library in which the network computes: in another one a run goes on, but not to the bit.
    """

    def __init__(
        self, folder: Path | None, run: Mapping[str, Any], config: Mapping[str, Any], seed: int, arrays: str = "numpy"
    ) -> None:
        self._folder, self._run, self._config, self._seed = folder, dict(run), dict(config), seed
        self._started = time.perf_counter()
        self._machine: dict[str, Any] = {}
        self._digest: Any = None
        if folder is not None:
            require_writable(folder)
            self._machine = _machine(provenance({}, seed)) | {"arrays": arrays}

    def save(self, arrays: Mapping[str, AnyArray]) -> None:
        """Write the checkpoint."""
        if self._folder is not None:
            meta = {"kind": "checkpoint", "run": self._run, "config": self._config, "machine": self._machine}
            kept = Result(dict(arrays), meta)
            kept.meta["digest"] = _digest(kept.arrays)
            kept.save(self._folder / CHECKPOINT)

    def found(self) -> dict[str, Any] | None:
        """Return the arrays of the checkpoint, or None if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, is none, or was written by a run with other options.
        """
        path = None if self._folder is None else self._folder / CHECKPOINT
        if path is None or not path.exists():
            return None
        kept = load_result(path)
        if kept.meta.get("kind") != "checkpoint" or not isinstance(kept.meta.get("run"), dict):
            raise CheckpointError(f"{path} must be the checkpoint of a run; it is another kind of result.")
        others = _differences(kept.meta["run"], Result({}, self._run).meta)
        if others:
            raise CheckpointError(
                f"{path} was written by a run with other options: {others}. Use those options, or another folder."
            )
        if kept.meta.get("machine") != self._machine:
            told = _differences(kept.meta.get("machine") or {}, self._machine)
            warnings.warn(f"the run goes on to rounding, not to the bit, as it began with {told}.", stacklevel=3)
        self._digest = kept.meta.get("digest")
        return kept.arrays

    def require_whole(self, arrays: Mapping[str, AnyArray]) -> None:
        """Raise unless the arrays that were found are, to the bit, those that were written.

        Raises
        ------
        CheckpointError
            If they are not. To be called when it is known that each of them can be used.
        """
        if self._digest != _digest(arrays):
            raise CheckpointError(
                f"{self._folder and self._folder / CHECKPOINT} must hold the arrays that it was written with; its "
                "digest is another. It was changed; use an older one, or begin anew."
            )

    def require_own(self) -> None:
        """Raise unless there is a checkpoint of this run to go on from.

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged or of another run.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told when the run goes on
            if self.found() is None:
                raise CheckpointError(
                    f"{self._folder} must hold {CHECKPOINT} of a run to go on with; there is none. "
                    "Without resuming, it begins from the start."
                )

    def finished(self, about: Mapping[str, Any]) -> bool:
        """Return True if the result of this run exists already, with the same `about`: how long it ran."""
        try:
            if self._folder is None:
                return False
            found = load_result(self._folder / RESULT)
        except CheckpointError:  # not there, or damaged: the checkpoint gives it again
            return False
        wanted = Result({}, {**about, "run": self._run}).meta
        return all(found.meta.get(name) == value for name, value in wanted.items())

    def finish(self, arrays: Mapping[str, AnyArray], about: Mapping[str, Any]) -> None:
        """Write the result: arrays, what is said `about` them, and where they come from."""
        if self._folder is not None:
            record = provenance(self._config, self._seed, self._started)
            meta = {**about, "run": self._run, "provenance": record}
            Result(dict(arrays), meta).save(self._folder / RESULT)


def _digest(arrays: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def _machine(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the last bits depend on."""
    blas = sorted(f"{library['name']} {library['version']} ({library['kernel']})" for library in record["blas"])
    versions = {name: record["versions"][name] for name in ("neurodecorr", "numpy", "scipy", "numba")}
    return {"BLAS": blas, "threads": threads(), **versions}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)

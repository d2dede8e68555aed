"""The circuits in the folder of a run: what `compare`, `train` and `live` left, ready for hardware."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr._validation import finite, positive, real_array, square
from neurodecorr.circuit import Circuit
from neurodecorr.circuit.stability import is_stable
from neurodecorr.comparison.comparison import Comparison
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Result, load_result, read_traces
from neurodecorr.io.hdf5 import TRACES_FILE
from neurodecorr.io.npz import RESULT_FILE
from neurodecorr.training.runs import layer_inputs

SAMPLES = 256  # held-out samples that go with a circuit
KINDS = "`neurodecorr compare` or `neurodecorr train`, nd.run_online(record=…), or a Result with an array R or M"
# How a Result of one's own may call its arrays; names of estimators' attributes are among them.
LATERAL, MATRIX, MEAN, INPUTS = ("R", "lateral", "R_"), ("M", "matrix", "M_"), ("mean", "mean_"), ("X",)


@dataclass(frozen=True, eq=False)
class Found:
    """A learnt circuit, with everything that building it needs.

    ::

        τ dx̄/dt = (x − μ) − R x̄,    at rest  x̄ = M (x − μ)

    Parameters
    ----------
    name : str
        As in the run: "R implicit", "layer0", or "R".
    R, M : (n, n) arrays
        Lateral weights and the matrix that answers at once; float64, bit for bit what was learnt if that had fewer
        digits. Whichever the run does not hold is the inverse of the other.
    mean : (n,) array
        μ, in the unit of the input.
    samples : (k, n) array
        Inputs x that were not learnt from, μ not subtracted; k ≤ 256. `meta["samples"]` says where they come from.
    tau : float
        Time constant τ, in the unit of the run; 1 where it has none.
    meta : dict
        `form`, `rule`, `correlation` (residual, where known), `source` (file), `samples`, `config`, `provenance`.
    """

    name: str
    R: Floats
    M: Floats
    mean: Floats
    samples: Floats
    tau: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def drive(self) -> Floats:
        """Centred inputs x − μ, (k, n)."""
        return self.samples - self.mean

    @property
    def circuit(self) -> Circuit:
        """The circuit of R and τ.

        Raises
        ------
        InputError
            If R is singular.
        """
        return Circuit(self.R, self.tau)

    @property
    def learnt_as_circuit(self) -> bool:
        """Whether R was learnt, and not computed from a matrix M."""
        return self.meta.get("form") == "recurrent"


def find_circuits(folder: str | os.PathLike[str]) -> dict[str, Found]:
    """Return the circuits in the folder of a run, by name.

    Parameters
    ----------
    folder : path-like
        What `neurodecorr compare`, `neurodecorr train` or `nd.run_online(record=…)` wrote, or a folder with a
        `result.npz` of your own, `Result({"R": …, "mean": …, "X": …}, {"tau": …})`; or one of these files.

    Returns
    -------
    dict of str to Found
        In the order of the run: forms of a comparison, layers of a network.

    Raises
    ------
    InputError
        If there is no such folder or file.
    CheckpointError
        If it holds no run of this package, a damaged one, or one without weights that decorrelate.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Result({"R": [[2.0, 1.0], [1.0, 2.0]]}, {"tau": 0.02}).save(Path(folder) / "result.npz")
    ...     found = find_circuits(folder)
    >>> list(found), found["R"].circuit
    (['R'], Circuit(n=2, tau=0.02))
    """
    path = _existing(folder)
    file = _file(path)
    if file.suffix == ".h5":
        return _of_life(file)
    result = load_result(file)
    kind = result.meta.get("kind")
    if kind == "comparison":
        return _of_comparison(Comparison.from_result(result), file)
    found = _of_network(result, file) if kind == "training" else _of_result(result, file)
    if not found:
        raise CheckpointError(
            f"{file} must hold weights that decorrelate, R or M; it holds {', '.join(sorted(result.arrays)) or 'none'}."
            + (" Train with --decorrelation recurrent." if kind == "training" else "")
        )
    return found


def best_circuit(circuits: Mapping[str, Found]) -> Found:
    """Return the circuit to build if nobody says which.

    Learnt as R before computed from M; settling before not; then the least residual correlation; then the first.

    Parameters
    ----------
    circuits : mapping of str to Found
        From `find_circuits`; not empty.

    Returns
    -------
    Found
        One of them.
    """

    def badness(found: Found) -> tuple[bool, bool, float]:
        return not found.learnt_as_circuit, not is_stable(found.R), float(found.meta.get("correlation") or 0.0)

    return min(circuits.values(), key=badness)


def chosen_circuit(circuits: Mapping[str, Found], name: str | None = None) -> Found:
    """Return the circuit of that name, or the best one.

    Parameters
    ----------
    circuits : mapping of str to Found
        From `find_circuits`.
    name : str, optional
        Case does not count, and `_` or `-` may stand for a blank: "r_implicit" finds "R implicit".

    Raises
    ------
    ConfigError
        If there is none of that name; the nearest one is suggested.
    """
    if name is None:
        return best_circuit(circuits)
    known = {_plain(key): found for key, found in circuits.items()}
    if _plain(name) in known:
        return known[_plain(name)]
    near = difflib.get_close_matches(_plain(name), list(known), n=1, cutoff=0.4)
    hint = f" Did you mean {known[near[0]].name!r}?" if near else ""
    names = ", ".join(repr(key) for key in circuits)
    raise ConfigError(f"circuit must be one of {names}; got {name!r}.{hint}")


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _existing(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if path.exists():
        return path
    parent = path.parent
    names = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {str(parent / near[0])!r}?" if near else ""
    raise InputError(f"DIR must be the folder of a run; there is no {str(path)!r}.{hint}")


def _file(path: Path) -> Path:
    """Return the file of a run: its result, or the traces of a living circuit."""
    if not path.is_dir():
        return path
    for name in (RESULT_FILE, TRACES_FILE):
        if (path / name).is_file():
            return path / name
    inside = sorted(entry.name for entry in path.iterdir())
    runs = [name for name in inside if (path / name / RESULT_FILE).is_file()]
    hint = f" Runs lie in its folders: try {str(path / runs[0])!r}." if runs else f" It must come from {KINDS}."
    held = ", ".join(inside[:6]) + (", …" if len(inside) > 6 else "") if inside else "nothing"
    raise CheckpointError(f"{path} must hold {RESULT_FILE} or {TRACES_FILE}; it holds {held}.{hint}")


def _of_comparison(comparison: Comparison, file: Path) -> dict[str, Found]:
    zero = np.zeros(comparison.features)
    if comparison.inputs is None:
        samples, words = _drawn(comparison.covariance), "Gaussian with the covariance of the held-out samples"
    else:
        samples, words = comparison.inputs[:SAMPLES].astype(np.float64), "held-out samples of the comparison"
    found = {}
    for entry in comparison.entries:
        meta = {
            "form": entry.form,
            "rule": entry.rule,
            "correlation": entry.correlation,
            "failure": entry.failure,
            "source": str(file),
            "samples": words,
            "config": comparison.config,
            "provenance": comparison.provenance,
        }
        mean = zero if entry.mean is None else entry.mean.astype(np.float64)
        if not entry.failure:  # what diverged is what it is
            _require_inverse(entry.lateral, entry.matrix, f"{file}: {entry.name}")
        found[entry.name] = Found(entry.name, entry.lateral, entry.matrix, mean, samples, meta=meta)
    return found


def _of_network(result: Result, file: Path) -> dict[str, Found]:
    arrays = {name.removeprefix("network."): array for name, array in result.arrays.items()}
    names = sorted({name.partition(".")[0] for name in arrays if name.startswith("layer")}, key=_number)
    record = result.meta.get("provenance", {})
    inputs = None
    found = {}
    for name in names:
        R, M = (arrays.get(f"{name}.{letter}") for letter in "RM")
        if R is None and M is None:
            continue
        inputs = layer_inputs(result) if inputs is None else inputs
        samples, words = inputs.get(name), "inputs of the layer for the first samples of the test set"
        meta = {"form": "feedforward" if R is None else "recurrent", "source": str(file), "samples": words}
        meta |= {"config": record.get("config", {}), "provenance": record}
        found[name] = _made(name, R, M, arrays.get(f"{name}.mean"), samples, 1.0, meta)
    return found


def _of_result(result: Result, file: Path) -> dict[str, Found]:
    """Return the circuits of a Result of one's own; "left.R" beside "right.R" makes two."""
    groups: dict[str, dict[str, Floats]] = {}
    for name, array in result.arrays.items():
        before, _, last = name.rpartition(".")
        groups.setdefault(before, {})[last] = array
    found = {}
    for before, arrays in groups.items():
        R, M, mean, X = (_first(arrays, names) for names in (LATERAL, MATRIX, MEAN, INPUTS))
        if R is None and M is None:
            continue
        name = before or ("M" if R is None else "R")
        meta = {"form": "feedforward" if R is None else "recurrent", "source": str(file), "samples": "given with it"}
        meta |= {"config": result.meta.get("config", {}), "provenance": result.meta.get("provenance", {})}
        tau = positive(result.meta.get("tau_s", result.meta.get("tau", 1.0)), "tau")
        found[name] = _made(name, R, M, mean, X, tau, meta)
    return found


def _of_life(file: Path) -> dict[str, Found]:
    try:
        traces = read_traces(file, ["R"], last=1)
    except ConfigError as error:
        raise CheckpointError(f"{file} must hold a trace of R, as nd.run_online(record=…) writes it: {error}") from None
    if not len(traces["R"]):
        raise CheckpointError(f"{file} must hold at least one row of R; it was stopped before the first.")
    R = np.asarray(traces["R"].values[-1], np.float64)
    Xbar = _activity(file, len(R))
    words = "inputs that settle at the activity recorded last"
    tau = positive(traces.metadata.get("tau_s", traces.metadata.get("tau", 1.0)), "tau")
    meta = {"form": "recurrent", "source": str(file), "samples": words, "samples_learnt": int(traces["R"].step[-1])}
    meta |= {"config": traces.provenance.get("config", {}), "provenance": traces.provenance}
    return {"R": _made("R", R, None, None, Xbar @ R.T, tau, meta)}


def _activity(file: Path, n: int) -> Floats:
    """Return the x̄ recorded last, or no row where none were recorded."""
    try:
        return np.asarray(read_traces(file, ["xbar"], last=SAMPLES)["xbar"].values, np.float64)
    except ConfigError:
        return np.empty((0, n))


def _made(name: str, R: Any, M: Any, mean: Any, samples: Any, tau: float, meta: dict[str, Any]) -> Found:
    """Return a circuit of which R or M, the mean and the samples may be missing."""
    place = f"{meta['source']}:" + ("" if name in LATERAL + MATRIX else f" {name}")
    if R is not None and M is not None:
        _require_inverse(R, M, place)
    R = _inverse(M, f"{place} M") if R is None else square(R, f"{place} R").astype(np.float64)
    M = _inverse(R, f"{place} R") if M is None else square(M, f"{place} M").astype(np.float64)
    mean = np.zeros(len(R)) if mean is None else finite(real_array(mean, f"{place} mean"), f"{place} mean")
    mean = mean.astype(np.float64)
    given = samples is not None and len(samples) > 0
    if not given:
        # Where the mean has another length, there is nothing to draw, and the check below says so.
        samples = np.random.default_rng(0).standard_normal((SAMPLES, len(R))) @ R.T
        samples = samples + mean if mean.shape == (len(R),) else samples
        meta = meta | {"samples": "x = R x̄ + μ with independent normal x̄, as the run keeps no inputs"}
    samples = finite(real_array(samples, f"{place} X"), f"{place} X").astype(np.float64)[:SAMPLES]
    if R.shape != M.shape or mean.shape != (len(R),) or samples.ndim != 2 or samples.shape[1] != len(R):
        raise CheckpointError(
            f"{place} R and M must be (n, n), the mean (n,) and the samples (k, n); got {R.shape}, {M.shape}, "
            f"{mean.shape} and {samples.shape}."
        )
    return Found(name, R, M, mean, samples, tau, meta)


def _require_inverse(R: Any, M: Any, place: str) -> None:
    """Raise unless M undoes R, as far as learning in their precision lets it.

    ::

        M R M = M,    and R M R = R where M is invertible

    which is R M = I there; along null directions of the data, where M is zero, R may be anything that settles.
    """
    R, M = square(R, f"{place} R"), square(M, f"{place} M")
    if R.shape != M.shape:
        raise CheckpointError(f"{place}: R and M must have one shape; got {R.shape} and {M.shape}.")
    eps = max(float(np.finfo(one.dtype).eps) for one in (R, M))
    R, M = R.astype(np.float64), M.astype(np.float64)
    whole = np.linalg.matrix_rank(M) == len(M)
    for A, B in ((M, R), (R, M)) if whole else ((M, R),):
        room = 64 * np.sqrt(eps) + 16 * len(A) * eps * np.linalg.norm(A) * np.linalg.norm(B)
        gap = float(np.linalg.norm(A @ B @ A - A))
        if not gap <= room * np.linalg.norm(A):
            raise CheckpointError(
                f"{place}: R and M must undo each other, R M = I; they are off by {gap / np.linalg.norm(A):.2g}. The "
                "file was changed, or holds matrices of two circuits."
            )


def _inverse(A: Any, place: str) -> Floats:
    try:
        return np.linalg.inv(square(A, place).astype(np.float64))
    except np.linalg.LinAlgError:
        raise InputError(f"{place} must be invertible to make a circuit; it is singular.") from None


def _drawn(covariance: Floats) -> Floats:
    rng = np.random.default_rng(0)
    return rng.multivariate_normal(np.zeros(len(covariance)), covariance, SAMPLES, method="eigh")


def _first(arrays: Mapping[str, Floats], names: tuple[str, ...]) -> Floats | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _number(name: str) -> tuple[int, str]:
    digits = name.removeprefix("layer")
    return (int(digits) if digits.isdecimal() else 0), name

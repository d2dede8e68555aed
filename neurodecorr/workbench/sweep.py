"""Sweeps: a grid of learning rates, the best by validation, then several seeds; each cell a folder of its own.

Every cell is a training run on one BLAS thread, so its numbers depend on nothing but its configuration: not on the
number of workers, nor on the order in which they finish.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from neurodecorr._threads import one_thread
from neurodecorr.errors import CheckpointError, ConfigError, DivergenceError
from neurodecorr.learning import History
from neurodecorr.modelfile import CREDITS, load_model
from neurodecorr.recording import Result, load_result, run_id, write_text
from neurodecorr.workbench.training import prepare_run

__all__ = ["Cell", "Sweep", "SweepFile", "load_sweep", "run_sweep", "write_csv"]

RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # those of P0's grid
LEARNS = ("feedforward", "recurrent")


class SweepFile(BaseModel):
    """What a sweep file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(alias="schema", ge=1, le=1)
    model: str
    data: str | None = None
    credit: tuple[str, ...] = CREDITS
    decorrelation: tuple[str, ...] = ("none", "feedforward")
    rates: tuple[PositiveFloat, ...] = RATES
    decorrelation_rates: tuple[PositiveFloat, ...] = RATES
    validation: PositiveInt = 10_000
    epochs: PositiveInt | None = None
    final_epochs: PositiveInt | None = None
    batch: PositiveInt | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    select: str = "validation accuracy"


@dataclass(frozen=True)
class Cell:
    """One training run of a sweep."""

    model: str
    data: str | None
    credit: str
    form: str
    rate: float
    decorrelation_rate: float | None
    validation: int
    epochs: int | None
    batch: int | None
    seed: int

    @property
    def curve(self) -> str:
        """The curve it belongs to: rule and form."""
        return f"{self.credit} {self.form}"

    @property
    def name(self) -> str:
        """Its folder: a hash of everything above."""
        return run_id(asdict(self))


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Parameters
    ----------
    grid : list of dict
        One row per cell of the grid: curve, rates, seed, and its best value of what selects; NaN where it diverged.
    chosen : dict of str to Cell
        The best cell of each curve.
    finals : dict of str to list of History
        The runs with the chosen rates, one per seed, on all training samples.
    """

    grid: list[dict[str, Any]]
    chosen: dict[str, Cell]
    finals: dict[str, list[History]]

    def table(self) -> list[dict[str, Any]]:
        """Return one row per curve: chosen rates, and the last and best test accuracy over seeds."""
        rows = []
        for curve, cell in self.chosen.items():
            last = np.array([h.epochs["test accuracy"][-1] for h in self.finals[curve]])
            best = np.array([max(h.epochs["test accuracy"]) for h in self.finals[curve]])
            rows.append(
                {
                    "curve": curve,
                    "rate": cell.rate,
                    "decorrelation rate": cell.decorrelation_rate,
                    "seeds": len(last),
                    "last": float(last.mean()),
                    "lowest": float(last.min()),
                    "highest": float(last.max()),
                    "best": float(best.mean()),
                }
            )
        return rows


def load_sweep(path: str | Path) -> SweepFile:
    """Read a sweep file.

    Raises
    ------
    ConfigError
        If it is missing, no TOML, or says what no sweep file may.
    """
    try:
        found = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the sweep file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the sweep file {path} is no TOML: {error}.") from None
    try:
        return SweepFile.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place, known = ".".join(map(str, first["loc"])), ", ".join(f.alias or n for n, f in SweepFile.model_fields.items())
        raise ConfigError(f"{path}: {place}: {first['msg']}; got {first['input']!r}. Keys are {known}.") from None


def run_sweep(
    sweep: SweepFile, folder: str | Path, *, jobs: int = 1, scheduler: str | None = None, quiet: bool = True
) -> Sweep:
    """Train every cell of the grid, choose the best of each curve by validation, and train that with every seed.

    Parameters
    ----------
    sweep : SweepFile
        What to sweep.
    folder : path
        Each cell has a folder in `cells`; finished ones are not trained again.
    jobs : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler, "tcp://host:8786", whose workers see the same folder.
    quiet : bool
        Whether to print nothing.

    Returns
    -------
    Sweep
        The same numbers whatever `jobs` and `scheduler`.
    """
    cells = Path(folder) / "cells"
    grid = _grid(sweep)
    with _workers(jobs, scheduler) as pool:
        found = pool(grid, cells, "grid", quiet)
        rows = [_row(cell, history, sweep.select) for cell, history in zip(grid, found, strict=True)]
        chosen = _best(grid, rows)
        finals = [_final(cell, sweep, seed) for cell in chosen.values() for seed in sweep.seeds]
        trained = pool(finals, cells, "finals", quiet)
    by_curve: dict[str, list[History]] = {curve: [] for curve in chosen}
    for cell, history in zip(finals, trained, strict=True):
        if history is None:
            raise DivergenceError(f"{cell.curve} diverged with seed {cell.seed} at the rate that validation chose.")
        by_curve[cell.curve].append(history)
    return Sweep(rows, chosen, by_curve)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as a table of text, atomically; numbers to the last bit."""
    lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    return write_text(path, "\n".join(lines) + "\n")


def _grid(sweep: SweepFile) -> list[Cell]:
    cells = []
    for credit in sweep.credit:
        for form in sweep.decorrelation:
            for rate in sweep.rates:
                for second in sweep.decorrelation_rates if form in LEARNS else (None,):
                    cells.append(
                        Cell(
                            sweep.model, sweep.data, credit, form, rate, second,
                            sweep.validation, sweep.epochs, sweep.batch, sweep.seeds[0],
                        )  # fmt: skip
                    )
    return cells


def _final(cell: Cell, sweep: SweepFile, seed: int) -> Cell:
    epochs = sweep.final_epochs or sweep.epochs
    return Cell(**{**asdict(cell), "validation": 0, "epochs": epochs, "seed": seed})


def _row(cell: Cell, history: History | None, select: str) -> dict[str, Any]:
    value = float("nan") if history is None else history.best(select)[1]
    return {
        "curve": cell.curve,
        "rate": cell.rate,
        "decorrelation rate": cell.decorrelation_rate,
        "seed": cell.seed,
        select: value,
    }


def _best(grid: Sequence[Cell], rows: Sequence[Mapping[str, Any]]) -> dict[str, Cell]:
    chosen: dict[str, tuple[float, Cell]] = {}
    for cell, row in zip(grid, rows, strict=True):
        name, value = list(row.items())[-1]
        score = -value if name.endswith("loss") else value
        if not np.isnan(score) and (cell.curve not in chosen or score > chosen[cell.curve][0]):
            chosen[cell.curve] = (score, cell)
    lost = sorted({cell.curve for cell in grid} - chosen.keys())
    if lost:
        raise DivergenceError(f"every rate of the grid diverged for {', '.join(lost)}. Add lower rates.")
    return {curve: cell for curve, (_, cell) in chosen.items()}


def _train(cell: Cell, folder: Path) -> History | None:
    """Train one cell, or read what it found before; None if it diverged."""
    place = folder / cell.name
    try:
        return History.from_arrays(load_result(place).arrays)
    except CheckpointError:
        pass  # not finished yet
    if (place / "diverged.npz").exists():
        return None
    options = asdict(cell)
    del options["model"]
    with one_thread():
        run = prepare_run(load_model(cell.model), options)
        try:
            return run.go(place, resume=True, quiet=True)
        except DivergenceError as error:
            Result({}, {"kind": "diverged", "why": str(error)}).save(place / "diverged.npz")
            return None


class _workers:
    """Processes on this machine, or those of a Dask cluster."""

    def __init__(self, jobs: int, scheduler: str | None) -> None:
        self._jobs, self._scheduler = jobs, scheduler
        self._client: Any = None

    def __enter__(self) -> _workers:
        if self._scheduler is not None:
            try:
                from dask.distributed import Client
            except ImportError:
                raise ConfigError("a scheduler needs Dask: pip install 'neurodecorr[dask]'.") from None
            self._client = Client(self._scheduler)
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def __call__(self, cells: Sequence[Cell], folder: Path, words: str, quiet: bool) -> list[History | None]:
        """Train cells, in any order; return what they found, in theirs."""
        backend = joblib.parallel_config("dask") if self._client is not None else nullcontext()
        with backend:
            parallel = joblib.Parallel(self._jobs if self._client is None else -1, return_as="generator")
            found: Iterable[History | None] = parallel(joblib.delayed(_train)(cell, folder) for cell in cells)
            return list(_counted(found, len(cells), words, quiet))


def _counted(found: Iterable[History | None], total: int, words: str, quiet: bool) -> Iterable[History | None]:
    import tqdm

    return tqdm.tqdm(found, words, total, disable=quiet or None, unit="run")

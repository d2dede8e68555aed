"""Sweeps: a grid of learning rates, the best by validation, then several seeds; each cell a folder of its own.

Every cell is a training run on one BLAS thread, so its numbers depend on nothing but its configuration: not on the
number of workers, nor on the order in which they finish.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from pydantic import Field, PositiveFloat, PositiveInt

from neurodecorr import _validation
from neurodecorr._numerics.blas import one_thread
from neurodecorr._validation import Progress
from neurodecorr.errors import CheckpointError, ConfigError, DivergenceError, InputError
from neurodecorr.io import Result, load_result
from neurodecorr.io.atomic import write_text
from neurodecorr.io.cells import csv_line
from neurodecorr.io.checkpoints import RESULT
from neurodecorr.io.provenance import package_version, run_id
from neurodecorr.models import CREDITS, LEARNING_FORMS, Table, checked, load_model, model_names, read_tables
from neurodecorr.training.history import History
from neurodecorr.training.runs import goes_on, prepare_run

SECONDS = 20  # to wait for a scheduler


class Workers:
    """Worker processes of this machine or of a Dask cluster; results do not depend on which.

    Parameters
    ----------
    jobs : int
        Processes on this machine; 1: this one.
    scheduler : str, optional
        Address of a Dask scheduler, instead.

    Raises
    ------
    ConfigError
        If `jobs` is not a whole number ≥ 1, Dask is not installed, or no scheduler answers.

    References
    ----------
    Rocklin (2015), Proceedings of the 14th Python in Science Conference (Dask).
    """

    def __init__(self, jobs: int = 1, scheduler: str | None = None) -> None:
        self._jobs, self._scheduler = _validation.count(jobs, "jobs"), scheduler
        self._client: Any = None

    def __enter__(self) -> Self:
        if self._scheduler is not None:
            self._client = _client(self._scheduler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def run(
        self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], words: str, progress: Progress | None
    ) -> list[Any]:
        """Return what a task returns for each tuple of arguments, in their order.

        Parameters
        ----------
        task : callable
            A function of a module.
        arguments : sequence of tuples
            One for each call.
        words : str
            What the calls are for.
        progress : callable or None
            Called as `progress(words, done, total)`.

        Raises
        ------
        ChildProcessError
            If a worker was killed.
        """
        found = self._on_cluster(task, arguments) if self._client else self._here(task, arguments)
        results: dict[int, Any] = {}
        with living_workers():
            for index, result in found:
                results[index] = result  # workers may finish in any order
                if progress is not None:
                    progress(words, len(results), len(arguments))
        return [results[index] for index in range(len(arguments))]

    def _here(self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterable[tuple[int, Any]]:
        # One thread in each of several processes: more would compete for the same cores.
        options = {"inner_max_num_threads": 1} if self._jobs > 1 else {}
        with joblib.parallel_config("loky", **options):
            parallel = joblib.Parallel(self._jobs, return_as="generator")
            yield from enumerate(parallel(joblib.delayed(task)(*one) for one in arguments))

    def _on_cluster(self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterable[tuple[int, Any]]:
        distributed = importlib.import_module("dask.distributed")
        # Cells keep what they found on disk, so a call is made again only if its worker was lost.
        futures = {self._client.submit(task, *one, pure=False): index for index, one in enumerate(arguments)}
        for future in distributed.as_completed(futures):
            yield futures[future], future.result()


@contextlib.contextmanager
def living_workers() -> Iterator[None]:
    """Raise one short error if a worker was killed, instead of the trace of joblib or Dask.

    Raises
    ------
    ChildProcessError
        If one was.
    """
    try:
        yield
    except KeyboardInterrupt:
        get_reusable_executor().shutdown(kill_workers=True)  # else it warns, at the very end, of what it left behind
        raise
    except Exception as error:
        if not isinstance(error, BrokenProcessPool) and type(error).__name__ != "KilledWorker":
            raise
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory. Fewer --jobs need less."
        ) from None


def _client(address: str) -> Any:
    try:
        distributed = importlib.import_module("dask.distributed")
    except ImportError:
        raise ConfigError("scheduler needs Dask: pip install 'neurodecorr[dask]'.") from None
    try:
        return distributed.Client(address, timeout=SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"scheduler must be the address of a running Dask scheduler, such as tcp://host:8786; {address!r} gave "
            f"{type(error).__name__}: {error}"
        ) from None


RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # those of P0's grid
Credit = Literal["bp", "fa", "dfa", "np"]
Form = Literal["none", "feedforward", "recurrent", "batch_norm"]


class SweepFile(Table):
    """Description of a sweep: curves, learning rates, and how the best rate of each is chosen.

    Parameters
    ----------
    schema_version : int
        `schema = 1`.
    model : str
        Name or path of a model file; a path may be relative to the sweep file.
    data : str, optional
        Path of the data, as for `prepare_run`; it may be relative to the sweep file.
    credit, decorrelation : sequences of str
        Rules of credit assignment and forms of decorrelation; each pair is a curve.
    rates, decorrelation_rates : sequences of float
        Learning rates of W, and of M or R where there is one, relative or absolute as the model says; by default those
        that P0 tried.
    validation : int
        Training samples held out while rates are chosen.
    epochs, final_epochs, batch : int, optional
        Of the grid, of the final runs (as those of the grid), samples per batch; by default those of the model.
    seeds : sequence of int
        Of the final runs; the first one also of the grid.
    select : {"validation accuracy", "validation loss"}
        What the best rates are best at.
    select_at : {"last", "best"}
        In which epoch. The best one would also choose rates at which a network learns fast and then falls apart.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Table 2.
    """

    schema_version: Annotated[int, Field(ge=1, le=1, alias="schema")]
    model: str
    data: str | None = None
    credit: tuple[Credit, ...] = Field(default=CREDITS, min_length=1)  # type: ignore[arg-type]
    decorrelation: tuple[Form, ...] = Field(default=("none", "feedforward"), min_length=1)
    rates: tuple[PositiveFloat, ...] = Field(default=RATES, min_length=1)
    decorrelation_rates: tuple[PositiveFloat, ...] = Field(default=RATES, min_length=1)
    validation: PositiveInt = 10_000
    epochs: PositiveInt | None = None
    final_epochs: PositiveInt | None = None
    batch: PositiveInt | None = None
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    select: Literal["validation accuracy", "validation loss"] = "validation accuracy"
    select_at: Literal["last", "best"] = "last"


def load_sweep(path: str | Path) -> SweepFile:
    """Read a sweep file.

    Raises
    ------
    ConfigError
        If it is missing, no TOML, says what no sweep file may, or lists something twice.
    """
    place = Path(path)
    found = checked(read_tables(place, "sweep file"), SweepFile, place, "sweep file")
    for name in ("credit", "decorrelation", "rates", "decorrelation_rates", "seeds"):
        values = getattr(found, name)
        if len(set(values)) < len(values):
            raise ConfigError(f"{place}: {name} must list each value once; got {list(values)}.")
    near = {name: _beside(place, getattr(found, name)) for name in ("model", "data")}
    return found.model_copy(update=near)


def _beside(file: Path, name: str | None) -> str | None:
    """Return the absolute path of what a name means, if it lies beside the sweep file or here.

    A name without a slash and a suffix is that of a model, or of data that come with a library, if there is one.
    """
    if name is None or name in {"digits", *model_names()}:
        return name
    own = Path(name).expanduser()
    places = (file.parent / own, own)
    return next((str(place.resolve()) for place in places if place.exists()), name)


DIVERGED = "diverged.npz"
# Part of the name of every cell: a change of what a run writes or means makes older cells other cells.
FORMAT = 2
# The cells of one process run one after the other: BLAS threads and compiled kernels are the process's own. A worker
# of a Dask cluster may have several threads.
_ALONE = threading.Lock()


@dataclass(frozen=True)
class Cell:
    """One training run of a sweep: a model and options of `prepare_run`.

    Parameters
    ----------
    model, document : str
        Name or path of the model file, and a hash of what it says.
    data : str or None
        Path of the data.
    content : str
        Hash of every sample and target of the data.
    credit, form : str
        Rule of credit assignment, and form of decorrelation.
    rate, decorrelation_rate : float
        Learning rates of W, and of M or R (None without decorrelation).
    validation : int
        Samples held out.
    epochs, batch : int or None
        None: what the model says.
    seed : int
        Of everything.
    """

    model: str
    document: str
    data: str | None
    content: str
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
        """Its folder: a hash of everything above but where files lie, of version and form of results."""
        own = {name: value for name, value in asdict(self).items() if name not in ("model", "data")}
        return run_id({**own, "version": package_version("neurodecorr"), "format": FORMAT})

    @property
    def options(self) -> dict[str, Any]:
        """Options for `prepare_run`."""
        return {name: value for name, value in asdict(self).items() if name not in ("model", "document", "content")}


@dataclass(frozen=True)
class Sweep:
    """Results of a sweep.

    Parameters
    ----------
    grid : list of dict
        One row per cell of the grid: curve, rates, seed, and the number that selects; NaN where it diverged.
    chosen : dict of str to Cell or None
        The best cell of each curve; None where all diverged.
    finals : dict of str to list of History
        The runs with the chosen rates, one per seed that did not diverge, on all training samples.
    seeds : int
        Of the final runs, diverged ones included.
    """

    grid: list[dict[str, Any]]
    chosen: dict[str, Cell | None]
    finals: dict[str, list[History]]
    seeds: int

    def table(self) -> list[dict[str, Any]]:
        """Return one row per curve: its rates, how many seeds diverged, and their last and best test accuracies."""
        return [self._row(curve, cell) for curve, cell in self.chosen.items()]

    def _row(self, curve: str, cell: Cell | None) -> dict[str, Any]:
        accuracies = [h.epochs["test accuracy"] for h in self.finals[curve]] or [[np.nan]]
        last, best = (np.array([law(one) for one in accuracies]) for law in (lambda one: one[-1], max))
        rates = {"rate": cell and cell.rate, "decorrelation rate": cell and cell.decorrelation_rate}
        counts = {"seeds": self.seeds, "diverged": self.seeds - len(self.finals[curve])}
        span = {"last": last.mean(), "lowest": last.min(), "highest": last.max(), "best": best.mean()}
        return {"curve": curve, **rates, **counts, **{name: float(value) for name, value in span.items()}}


def sweep_settings(sweep: SweepFile, grid: Sequence[Cell]) -> dict[str, Any]:
    """Return the settings that decide the tables of a sweep, as JSON values: hashes instead of paths."""
    own = sweep.model_dump(mode="json", exclude={"schema_version", "model", "data"})
    return {**own, "model": grid[0].document, "data": grid[0].content}


def sweep_grid(sweep: SweepFile) -> list[Cell]:
    """Return the cells of the grid; raise before any of them runs if one cannot be used.

    Raises
    ------
    ConfigError, InputError
        If the model or the data cannot be used.
    """
    model = load_model(sweep.model)
    grid = _grid(sweep, model.document.training.epochs, run_id(model.document.model_dump(by_alias=True)))
    content = prepare_run(model, grid[0].options).content()
    return [replace(cell, content=content) for cell in grid]


def run_sweep(
    sweep: SweepFile,
    folder: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
    grid: Sequence[Cell] | None = None,
) -> Sweep:
    """Train every cell of the grid, choose the best rate of each curve by validation, and train it with every seed.

    ::

        (η_W*, η_M*) = the best pair of the grid by `select`, measured on the validation set

    Parameters
    ----------
    sweep : SweepFile
        What to sweep.
    folder : path
        Each cell has a folder in `cells`; finished ones are not trained again, begun ones go on.
    jobs : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler, "tcp://host:8786", whose workers see the same folder.
    progress : callable, optional
        Called as `progress(words, done, total)` after each cell.
    grid : sequence of Cell, optional
        What `sweep_grid` returned for this sweep.

    Returns
    -------
    Sweep
        The same numbers whatever `jobs` and `scheduler`.

    Raises
    ------
    ConfigError, InputError
        If the model, the data or the workers cannot be used.
    DivergenceError
        If every rate of every curve diverged.
    ChildProcessError
        If a worker was killed; what is finished is on disk.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Table 2.
    """
    cells, grid = Path(folder).absolute() / "cells", sweep_grid(sweep) if grid is None else grid
    with Workers(jobs, scheduler) as workers, _counting(cells):
        found = workers.run(_train, [(cell, cells) for cell in grid], "grid", progress)
        rows = [_row(cell, history, sweep) for cell, history in zip(grid, found, strict=True)]
        chosen = _best(grid, [row[sweep.select] for row in rows], sweep.select)
        finals = [_final(cell, sweep, seed) for cell in chosen.values() if cell is not None for seed in sweep.seeds]
        trained = workers.run(_train, [(cell, cells) for cell in finals], "finals", progress)
    by_curve: dict[str, list[History]] = {curve: [] for curve in chosen}
    for cell, history in zip(finals, trained, strict=True):
        if history is not None:
            by_curve[cell.curve].append(history)
    return Sweep(rows, chosen, by_curve, len(sweep.seeds))


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as a table of text, atomically; numbers to the last bit."""
    lines = [csv_line(rows[0]), *(csv_line(row.values()) for row in rows)]
    return write_text(path, "\n".join(lines) + "\n")


@contextlib.contextmanager
def _counting(cells: Path) -> Iterator[None]:
    """Add the number of finished cells to the error when a worker was killed."""
    try:
        yield
    except ChildProcessError as error:
        done = len({path.parent for name in (RESULT, DIVERGED) for path in cells.glob(f"*/{name}")})
        raise ChildProcessError(f"{error} The same command goes on from {done} finished cells.") from None


def _grid(sweep: SweepFile, epochs: int, document: str) -> list[Cell]:
    first = Cell(
        sweep.model, document, sweep.data, "", "", "", 0.0, None, sweep.validation, sweep.epochs or epochs, sweep.batch,
        sweep.seeds[0],
    )  # fmt: skip
    return [
        replace(first, credit=credit, form=form, rate=rate, decorrelation_rate=second)
        for credit in sweep.credit
        for form in sweep.decorrelation
        for rate in sweep.rates
        for second in (sweep.decorrelation_rates if form in LEARNING_FORMS else (None,))
    ]


def _final(cell: Cell, sweep: SweepFile, seed: int) -> Cell:
    return replace(cell, validation=0, epochs=sweep.final_epochs or cell.epochs, seed=seed)


def _row(cell: Cell, history: History | None, sweep: SweepFile) -> dict[str, Any]:
    rates = {"rate": cell.rate, "decorrelation rate": cell.decorrelation_rate}
    return {"curve": cell.curve, **rates, "seed": cell.seed, sweep.select: _selecting(history, sweep)}


def _selecting(history: History | None, sweep: SweepFile) -> float:
    """Return the number that decides between rates; NaN where a run diverged."""
    if history is None:
        return float("nan")
    return history.epochs[sweep.select][-1] if sweep.select_at == "last" else history.best(sweep.select)[1]


def _best(grid: Sequence[Cell], values: Sequence[float], select: str) -> dict[str, Cell | None]:
    """Return the best cell of each curve, of equal ones the first; None where all diverged."""
    chosen: dict[str, Cell | None] = {}
    for curve in dict.fromkeys(cell.curve for cell in grid):
        own = [
            (value, cell) for value, cell in zip(values, grid, strict=True) if cell.curve == curve and value == value
        ]
        sign = -1 if select.endswith("loss") else 1
        chosen[curve] = max(own, key=lambda one: sign * one[0])[1] if own else None
    if not any(chosen.values()):
        raise DivergenceError(f"every rate of the grid diverged for {', '.join(chosen)}. Add lower rates.")
    return chosen


def _train(cell: Cell, folder: Path) -> History | None:
    """Train one cell, or read what it found before; None if it diverged."""
    place = folder / cell.name
    with contextlib.suppress(CheckpointError):  # not there yet; a damaged one is made again
        if load_result(place / DIVERGED).meta.get("kind") == "diverged":
            return None
    with contextlib.suppress(CheckpointError):
        return History.from_arrays(load_result(place / RESULT).arrays)
    with _ALONE, one_thread():
        run = prepare_run(load_model(cell.model), cell.options)
        if run.content() != cell.content:
            raise InputError("the data of a sweep must stay as they are while it runs; they were changed. Begin again.")
        try:
            # A checkpoint that cannot be used is no reason to stop: the cell is begun anew.
            return run.go(place, resume=goes_on(run, place))
        except DivergenceError as error:
            Result({}, {"kind": "diverged", "why": str(error)}).save(place / DIVERGED)
            return None

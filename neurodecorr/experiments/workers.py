"""Where the cells of a sweep run: in this process, in several, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

import joblib
from joblib.externals.loky import get_reusable_executor

from neurodecorr import _validation
from neurodecorr._validation import Progress
from neurodecorr.errors import ConfigError

SECONDS = 20  # to wait for a scheduler


class Workers:
    """Processes on this machine, or those of a Dask cluster; what they return depends on neither.

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
                results[index] = result
                if progress is not None:
                    progress(words, len(results), len(arguments))
        return [results[index] for index in range(len(arguments))]

    def _here(self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterable[tuple[int, Any]]:
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
    """Say in one sentence that a worker was killed, instead of where joblib or Dask noticed.

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

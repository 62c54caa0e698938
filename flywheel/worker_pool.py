"""Independent pieces of work, each in one of a few processes of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from types import TracebackType
from typing import Any, Generic, TypeVar

from flywheel.errors import RemoteError

LONGEST_WAIT = 900.0  # seconds without any piece getting finished; a piece takes a second or two

Job = TypeVar("Job")
Result = TypeVar("Result")


def worker_count(pieces: int) -> int:
    """Processes worth starting for so many pieces: one a core."""
    return min(pieces, len(os.sched_getaffinity(0)))


def work_off(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield `(position of the job, result)` as they get done; with one worker or fewer, in this process and
    in order.

    Raises: RemoteError, see `WorkerPool`.
    """
    if workers <= 1:
        for position, job in enumerate(jobs):
            yield position, work(job)
        return
    with WorkerPool(work, min(workers, len(jobs))) as pool:
        for job in jobs:
            pool.submit(job)
        yield from pool.results()


class WorkerPool(Generic[Job, Result]):
    """A few processes that take jobs as they come. Jobs, results and `work` are pickled.

    When its block ends with an exception, the workers are ended at once.
    """

    def __init__(self, work: Callable[[Job], Result], workers: int) -> None:
        self._pool = ProcessPoolExecutor(workers, mp_context=_context(work), initializer=_begin)
        self._work = work
        self._pending: dict[Future[Result], int] = {}
        self._submitted = 0

    def submit(self, job: Job) -> None:
        """Start a job as soon as a worker is free."""
        with self._clear_errors():
            self._pending[self._pool.submit(self._work, job)] = self._submitted
            self._submitted += 1

    def results(self) -> Iterator[tuple[int, Result]]:
        """Yield `(position of the job, result)` of all that was submitted, as they get done.

        Raises:
            RemoteError: A worker process died, or none got anything done for long.
        """
        while self._pending:
            finished, _ = wait(self._pending, timeout=LONGEST_WAIT, return_when=FIRST_COMPLETED)
            if not finished:
                raise RemoteError(
                    f"The worker processes got nothing done in {LONGEST_WAIT:.0f} s; look at the machine's load."
                )
            for future in finished:
                with self._clear_errors():
                    result = future.result()
                yield self._pending.pop(future), result

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            raise RemoteError("A worker process died, perhaps out of memory; try again.") from error

    def __enter__(self) -> WorkerPool[Job, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


def prepare_workers(modules: Sequence[str]) -> None:
    """Start the process that workers come from, and have it import these modules while this one goes on.

    Else the first job waits for it. It ends with this process.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # else the server starts it, and that lets the signal through again
    # Ctrl-C reaches the server too, while it imports: blocked, it leaves the end of all to this process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context(work: Callable[..., Any]) -> Any:
    """Workers come from a server process that has imported their code once; forking this one, with its
    threads, can lock up.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])  # heeded if the server does not run yet
    return context


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    gc.disable()  # records make no reference cycles; walking them all the time would take longer than the work

"""Independent pieces of work, each in one of a few processes of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

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

    Jobs, results and `work` are pickled. If the caller stops early, the workers are ended.

    Raises:
        RemoteError: A worker process died, or none got anything done for long.
    """
    if workers <= 1:
        for position, job in enumerate(jobs):
            yield position, work(job)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads can lock up
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_begin)
    try:
        pending: dict[Future[Result], int] = {pool.submit(work, job): i for i, job in enumerate(jobs)}
        while pending:
            finished, _ = wait(pending, timeout=LONGEST_WAIT, return_when=FIRST_COMPLETED)
            if not finished:
                raise RemoteError(
                    f"The worker processes got nothing done in {LONGEST_WAIT:.0f} s; look at the machine's load."
                )
            for future in finished:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise RemoteError("A worker process died, perhaps out of memory; try again.") from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    gc.disable()  # records make no reference cycles; walking them all the time would take longer than the work

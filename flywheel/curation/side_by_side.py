"""Pieces of numerical work in a few threads at once: numpy computes outside the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = 2

Job = TypeVar("Job")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yield the results in the order of the jobs, of which no more are taken than are being worked on and one."""
    with ThreadPoolExecutor(THREADS) as threads:
        under_way: deque[Future[Result]] = deque()
        for job in jobs:
            under_way.append(threads.submit(work, job))
            if len(under_way) > THREADS:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

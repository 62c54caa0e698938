"""Training rows that are rendered before it is known which records are to be trained on.

Deduplication and the leakage check have one core busy most of their time. Meanwhile the other renders every record as
a training row: some of them in vain, but those that are wanted need only be gathered afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flywheel.datasets.build import MOST_JOBS, WORTH_A_POOL
from flywheel.datasets.rendering_worker import Rendered, RenderJob, render
from flywheel.datasets.validated_rows import groups_of, parts_of
from flywheel.worker_pool import WorkerPool, worker_count


@contextmanager
def rendering_ahead(
    validated: Path,
    work: Path,
    records: int,
    parse_function_arguments: bool,
    worth_it_from: int = WORTH_A_POOL,
) -> Iterator[Callable[[], Sequence[Rendered]]]:
    """Render beside what the block does, in a process of its own.

    Args:
        work: A directory for the spools; they are there as long as it is.
        records: Rows of the validated table. With few of them, or one core, nothing is done.

    Yields:
        What waits for the end and gives all rows, for `build_datasets`; nothing where nothing is done. It raises
        RemoteError where the process died, and OSError where the disk is full.
    """
    if records < worth_it_from or worker_count(2) < 2:
        yield list
        return
    work.mkdir(exist_ok=True)
    jobs = []
    for number, chosen in enumerate(groups_of(parts_of(validated), MOST_JOBS)):
        rows = np.arange(chosen[0].first, chosen[-1].first + chosen[-1].size)
        jobs.append(RenderJob(chosen, rows, None, parse_function_arguments, work / f"{number}.jsonl"))
    with WorkerPool(render, 1) as pool:
        for job in jobs:
            pool.submit(job)

        def rendered() -> list[Rendered]:
            return [Rendered(jobs[position], ends) for position, ends in sorted(pool.results())]

        yield rendered

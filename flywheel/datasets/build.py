"""Writes the base evaluation set and the fine-tuning sets.

    OUT/base/eval_data.jsonl      evaluation rows (`flywheel.datasets.evaluation_rows`)
    OUT/train/training.jsonl      training rows (`flywheel.datasets.training_rows`)
    OUT/train/validation.jsonl    the same, for the validation loss
    OUT/train/index.jsonl         {"id", "cluster", "split"} of each training row, in order, and then of each
                                  validation row

Rows stand in the order of their record ids, so the same records and settings give the same bytes whatever the
order of the log. Since the table is in the order of the log, rows are first written beside each other as they
come (in two processes when there are many) and then gathered, so memory does not grow with the payloads.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.config import DataSplitConfig
from flywheel.curation.validated_table import numbers
from flywheel.datasets.evaluation_rows import encode_line
from flywheel.datasets.rendering_worker import Ends, Rendered, RenderJob, render
from flywheel.datasets.validated_rows import groups_of, parts_of, read_assignment, rows_inside
from flywheel.progress import Progress
from flywheel.worker_pool import WorkerPool, work_off, worker_count

STAGE = "write datasets"
FILES = {
    "evaluation": "base/eval_data.jsonl",
    "train": "train/training.jsonl",
    "validation": "train/validation.jsonl",
}
INDEX_FILE = "train/index.jsonl"
WORTH_A_POOL = 20_000
"""Records from which a second process saves more than its start costs."""
MOST_JOBS = 64  # each leaves one file open while the rows are gathered


def build_datasets(
    validated: Path,
    assignment: Path,
    out: Path,
    config: DataSplitConfig,
    progress: Progress,
    pool_from: int = WORTH_A_POOL,
    ahead: Sequence[Rendered] = (),
) -> dict[str, Any]:
    """Write the files above into `out`.

    Args:
        validated: Directory with the validated table.
        assignment: Directory with the assignment that the leakage check left.
        pool_from: Number of rows from which more than one process works on them; the files are the same.
        ahead: Every record of the table as a training row, where that was done before it was known which of them
            are wanted; see `flywheel.datasets.rendering_ahead`. Its spools are read, and stay.

    Returns:
        {"rows": {split: rows}, "classes": {split: {answer class: rows}}}.

    Raises: DatasetError when an input is missing.
    """
    table = read_assignment(assignment)
    for name in (*FILES.values(), INDEX_FILE):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    work = out / ".rows"
    work.mkdir()
    try:
        wanted = table.filter(pc.equal(table["split"], "evaluation")) if ahead else table
        jobs = _jobs(validated, wanted, work, config.parse_function_arguments)
        rendered = _render_all(jobs, wanted.num_rows, progress, pool_from)
        with _Spools(rendered) as spools, _Spools(ahead or rendered) as training:
            for split, name in FILES.items():
                source = spools if split == "evaluation" else training
                source.gather(_rows_of(table, split), out / name)
    finally:
        shutil.rmtree(work)
    _write_index(table, out / INDEX_FILE)
    progress(STAGE, table.num_rows, table.num_rows)
    return {
        "rows": {split: len(_rows_of(table, split)) for split in FILES},
        "classes": {split: _classes(table, split) for split in FILES},
    }


def _rows_of(table: pa.Table, split: str) -> npt.NDArray[np.int64]:
    """Row numbers of one split, in the order of its file."""
    return numbers(table["row"].filter(pc.equal(table["split"], split)))


def _classes(table: pa.Table, split: str) -> dict[str, int]:
    classes = table["answer_class"].filter(pc.equal(table["split"], split)).to_pylist()
    return dict(sorted(Counter(classes).items()))


def _write_index(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        for split in ("train", "validation"):
            part = table.filter(pc.equal(table["split"], split)).select(["record_id", "cluster"])
            for batch in part.to_batches(max_chunksize=10_000):
                ids, clusters = (column.to_pylist() for column in batch.columns)
                file.writelines(
                    encode_line({"id": i, "cluster": c, "split": split})
                    for i, c in zip(ids, clusters, strict=True)
                )


def _jobs(validated: Path, table: pa.Table, work: Path, parse_function_arguments: bool) -> list[RenderJob]:
    by_row = table.sort_by("row")
    rows = numbers(by_row["row"])
    by_row = by_row.select(["record_id", "cluster", "weight", "split"])
    parts = [part for part in parts_of(validated) if len(rows_inside(rows, part))]
    jobs, start = [], 0
    for number, chosen in enumerate(groups_of(parts, MOST_JOBS)):
        count = sum(len(rows_inside(rows, part)) for part in chosen)
        jobs.append(
            RenderJob(
                parts=chosen,
                rows=rows[start : start + count],
                assigned=by_row.slice(start, count).combine_chunks(),
                parse_function_arguments=parse_function_arguments,
                spool=work / f"{number}.jsonl",
            )
        )
        start += count
    return jobs


def _render_all(jobs: list[RenderJob], total: int, progress: Progress, pool_from: int) -> list[Rendered]:
    ends: dict[int, Ends] = {}
    if total < pool_from:
        rendered = work_off(render, jobs, workers=1)
    else:  # the in-context examples are chosen at the same time and take one core
        rendered = _in_processes(jobs, max(1, worker_count(len(jobs)) - 1))
    for position, of_job in rendered:
        ends[position] = of_job
        progress(STAGE, sum(map(len, ends.values())), total)
    return [Rendered(job, ends[position]) for position, job in enumerate(jobs)]


def _in_processes(jobs: list[RenderJob], workers: int) -> Iterator[tuple[int, Ends]]:
    with WorkerPool(render, workers) as pool:
        for job in jobs:
            pool.submit(job)
        yield from pool.results()


class _Spools:
    """The rendered rows of all jobs, to be fetched by row number."""

    def __init__(self, rendered: Sequence[Rendered]) -> None:
        self._files = [os.open(job.spool, os.O_RDONLY) for job, _ in rendered]
        none = np.empty(0, np.int64)
        self._rows = np.concatenate([none, *(job.rows for job, _ in rendered)])
        self._ends = np.concatenate([none, *(ends for _, ends in rendered)])
        self._lengths = np.concatenate([none, *(np.diff(ends, prepend=0) for _, ends in rendered)])
        self._file_of = np.repeat(np.arange(len(rendered)), [len(ends) for _, ends in rendered])

    def gather(self, rows: npt.NDArray[np.int64], out: Path) -> None:
        """Write the rows, in this order, to a file."""
        places = np.searchsorted(self._rows, rows)
        lengths = self._lengths[places]
        starts = (self._ends[places] - lengths).tolist()
        files = [self._files[i] for i in self._file_of[places].tolist()]
        with out.open("wb", buffering=1 << 20) as file:
            file.writelines(map(os.pread, files, lengths.tolist(), starts))

    def __enter__(self) -> _Spools:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files:
            os.close(descriptor)

"""Renders the records of a few parts of the validated table as dataset rows; runs in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.datasets.evaluation_rows import encode_line, evaluation_row
from flywheel.datasets.training_rows import training_line
from flywheel.datasets.validated_rows import Part, Rows, batches_of, rows_inside

COLUMNS = ("request", "response", "choice", "roles", "conversation_id", "timestamp")


Ends = npt.NDArray[np.int64]
"""Where the lines of a file end, in bytes, shape (lines,)."""


class RenderJob(NamedTuple):
    """What one process is to render.

    `rows` are ascending row numbers inside `parts`; `assigned` has record_id, cluster, weight and split of
    each, or is None where all are to be training rows.
    """

    parts: list[Part]
    rows: Rows
    assigned: pa.Table | None
    parse_function_arguments: bool
    spool: Path


class Rendered(NamedTuple):
    """A job that is done, and where the rows end in its spool."""

    job: RenderJob
    ends: Ends


def render(job: RenderJob) -> Ends:
    """Write the rows to the job's spool, one line each, in the order of `rows`; returns where they end."""
    lengths: list[int] = []
    with job.spool.open("wb", buffering=1 << 20) as file:
        for part in job.parts:
            for chosen, batch in batches_of(part, rows_inside(job.rows, part), COLUMNS):
                assigned = None if job.assigned is None else job.assigned.slice(len(lengths), len(chosen))
                lines = _lines(assigned, batch, job.parse_function_arguments)
                file.writelines(lines)
                lengths += map(len, lines)
    return np.cumsum(lengths, dtype=np.int64)


def _lines(assigned: pa.Table | None, batch: pa.RecordBatch, parse_function_arguments: bool) -> list[bytes]:
    splits = ["train"] * batch.num_rows if assigned is None else assigned["split"].to_pylist()
    payloads = zip(*(batch[name].to_pylist() for name in COLUMNS), strict=True)
    lines = []
    for position, (split, payload) in enumerate(zip(splits, payloads, strict=True)):
        request, response, choice, roles, conversation, timestamp = payload
        if assigned is not None and split == "evaluation":
            line = encode_line(
                evaluation_row(
                    assigned["record_id"][position].as_py(),
                    msgspec.json.decode(request),
                    msgspec.json.decode(response),
                    assigned["cluster"][position].as_py(),
                    assigned["weight"][position].as_py(),
                    parse_function_arguments,
                    conversation,
                    timestamp,
                )
            )
        else:
            line = training_line(request, response, choice, roles, parse_function_arguments)
        lines.append(line)
    return lines

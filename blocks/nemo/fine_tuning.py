"""One fine-tune from rows to a model whose files are there."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from blocks.nemo.customization_jobs import Job, JobStatus
from blocks.nemo.customizer import job_body
from blocks.nemo.parts import Parts
from blocks.nemo.training_rows import PreparedRows, prepare_file, require_rows
from blocks.nemo.waiting import Patience, looked_at
from blocks.ports import FineTuneRequest
from flywheel.errors import RemoteJobFailed, RemoteJobTimedOut, TrainingOutOfTime
from flywheel.progress import Progress
from flywheel.results import Customization
from flywheel.token_counters import counter_for

ENTITY_RACE = "num_parameters"
"""Named by a failure that passes: the service now and then changes a model's entity before that is complete."""


async def fine_tuned(parts: Parts, request: FineTuneRequest, progress: Progress) -> Customization:
    """Train one adapter, or adopt the training that is there; the uploaded rows are deleted when it is done.

    Raises: DataError (no row can be used), RemoteRejected, TrainingOutOfTime, RemoteJobFailed, RemoteJobTimedOut,
    NotEnoughResources, RemoteJobCancelled, TransientRemoteError.
    """
    name = request.name
    with tempfile.TemporaryDirectory() as folder:
        files, rows = await asyncio.to_thread(_prepared, request, Path(folder))
        require_rows(rows)
        if rows.skipped:
            progress(f"fine-tune {name}", 0, None, f"{sum(rows.skipped.values())} rows left out")
        if await parts.customizer.adoptable(name) is None:
            await parts.put_dataset(name, files, "Training rows of a Flywheel run")
    target = await parts.configs.ready_target(request, progress)
    config = await parts.configs.get_or_create(request, target)
    body = job_body(parts.namespace, request, config, rows.rows)
    try:
        job, status, queued = await _trained(parts, request, body, progress)
    except TrainingOutOfTime:
        await parts.delete_dataset(name)  # asked for again, under another bound, it has another name
        raise
    await _await_files(parts, name, job.output_model, progress)
    await parts.delete_dataset(name)
    return Customization(
        job=job.id,
        model=job.output_model,
        status="completed",
        train_loss=status.train_loss,
        val_loss=status.val_loss,
        losses=status.losses,
        train_rows=rows.rows,
        skipped_rows=sum(rows.skipped.values()),
        skipped=rows.skipped,
        runtime_seconds=status.elapsed_seconds,
        queued_seconds=round(_queued(job, status, queued), 3),
        adapter=f"hf://models/{job.output_model}",
    )


async def _trained(
    parts: Parts, request: FineTuneRequest, body: dict[str, Any], progress: Progress
) -> tuple[Job, JobStatus, float]:
    """Submit and watch; a failure that is known to pass is tried once more."""
    tries = 0
    while True:
        job = await parts.customizer.get_or_create(request.name, body, progress)
        tries += 1
        try:
            epochs, max_hours = request.training.epochs, request.training.max_hours
            status, queued = await parts.customizer.finish(request.name, job, epochs, progress, max_hours)
            return job, status, queued
        except RemoteJobFailed as error:
            if tries > 1 or ENTITY_RACE not in str(error):
                raise


async def _await_files(parts: Parts, name: str, model: str, progress: Progress) -> None:
    """Wait until the files of the output model are there; that its entity exists proves nothing."""
    patience = Patience()
    status: str | None = None
    while True:
        status = await looked_at(lambda: parts.entities.artifact_status(model)) or status
        if status == "upload_completed":
            return
        if status == "upload_failed":
            raise RemoteJobFailed(
                f"The fine-tune {name!r} completed, but NeMo could not store {model!r}; run it again."
            )
        progress(f"fine-tune {name}", 0, None, "waiting for the model's files")
        if patience.is_spent("files", parts.waits.sync):
            raise RemoteJobTimedOut(
                f"The files of {model!r} are not there {patience.seconds:.0f} s after the fine-tune completed; their "
                f"state is {status!r}."
            )
        await asyncio.sleep(parts.waits.poll)


def _prepared(request: FineTuneRequest, folder: Path) -> tuple[dict[str, Path], PreparedRows]:
    """The dataset's files by path, and the counts; a validation file without rows is left away."""
    training, validation = folder / "training.jsonl", folder / "validation.jsonl"
    counter, longest = counter_for(request.model), request.training.max_seq_length
    rows = prepare_file(request.train / "training.jsonl", training, counter, longest)
    files = {"training/training.jsonl": training}
    checked = prepare_file(request.train / "validation.jsonl", validation, counter, longest)
    if checked.rows:
        files["validation/validation.jsonl"] = validation
    skipped = dict(rows.skipped)
    for reason, count in checked.skipped.items():
        skipped[f"validation: {reason}"] = count
    return files, PreparedRows(rows.rows, skipped)


def _queued(job: Job, status: JobStatus, seen: float) -> float:
    """Seconds in the queue by the platform's own times where it gives them, else as they were seen."""
    if job.created_at is None or status.updated_at is None or status.elapsed_seconds is None:
        return seen
    return max(0.0, (status.updated_at - job.created_at).total_seconds() - status.elapsed_seconds)

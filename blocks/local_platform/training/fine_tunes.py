"""Fine-tunes of the local platform: got or created by name, watched, resumed, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from blocks.local_platform.atomic_json import read_json, write_json
from blocks.local_platform.processes import ProcessRef, exclusive, log_tail, spawn_python, stop
from blocks.local_platform.training import job_files
from blocks.local_platform.training.job_files import JobSpec, JobStatus, State
from flywheel.errors import (
    RemoteError,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TrainingOutOfTime,
)
from flywheel.progress import Progress
from flywheel.results import Customization

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_STOP = 15.0
MOST_RESUMPTIONS = 3
"""Deaths without a word in one call, such as by the system when memory is short, before the job counts as failed."""

MORE_TIME = "Raise training_config.max_hours, train fewer epochs, or set at_max_hours to 'keep'."


class FineTunes:
    """Jobs below one directory, a folder for each.

    Args:
        patience: Seconds without any progress of a running job after which it is stopped.
    """

    def __init__(self, root: Path, patience: float) -> None:
        self._root = root
        self._patience = patience

    def folder(self, slug: str) -> Path:
        """Where the job of that name lies."""
        return self._root / slug

    def start(self, slug: str, spec: JobSpec) -> None:
        """Make the job's directory, or find it as it was left.

        Raises: RemoteRejected where a job of that name trains something else.
        """
        folder = self.folder(slug)
        folder.mkdir(parents=True, exist_ok=True)
        known = read_json(folder / job_files.JOB_FILE, JobSpec)
        if known is not None and not known.same_work_as(spec):
            raise RemoteRejected(
                f"A fine-tune named {spec.name!r} exists with other data or settings; give this one another name."
            )
        write_json(folder / job_files.JOB_FILE, spec)

    async def finish(self, slug: str, progress: Progress) -> Customization:
        """Run the job to its end and return it; adopt it where it runs already, resume it where it was interrupted.

        Cancelling the call stops the training process and sees it gone before the cancellation goes on.

        Raises: TrainingOutOfTime, RemoteJobFailed, RemoteJobTimedOut, RemoteJobCancelled.
        """
        async with exclusive(self.folder(slug) / "watch.lock", self._patience):
            try:
                return await self._watch(slug, progress)
            except asyncio.CancelledError:
                # Shielded: a second cancellation must not leave the process behind.
                await asyncio.shield(self.cancel(slug))
                raise

    async def cancel(self, slug: str) -> None:
        """Stop the job if it runs; it can be resumed later."""
        process = self._process(slug)
        if process is not None:
            await stop(process, SECONDS_TO_STOP)
        status = self._status(slug)
        if status is not None and status.state == "running":
            self._settle(slug, status, "cancelled")

    def running(self) -> list[str]:
        """Names of the jobs whose process lives."""
        return sorted(job.name for job in self._root.glob("*") if self._is_running(job.name))

    async def _watch(self, slug: str, progress: Progress) -> Customization:
        status = self._status(slug)
        if status is not None and status.state == "completed" and self._adapter(slug).is_dir():
            return self._customization(slug, status)
        if not self._is_running(slug):
            self._launch(slug)
        launches = 1
        seen: tuple[object, ...] = ()
        moved = time.monotonic()
        while True:
            running = self._is_running(
                slug
            )  # asked first: what ends after it has written its last status by then
            status = self._status(slug) or JobStatus()
            now_seen = (status.state, status.step, status.detail, launches)
            if now_seen != seen:
                seen, moved = now_seen, time.monotonic()
                self._report(slug, status, progress)
            if status.state == "completed":
                return self._customization(slug, status)
            if status.state == "failed" and not running:
                if status.cut:
                    raise TrainingOutOfTime(f"The fine-tune {slug!r} was {status.cut}. {MORE_TIME}")
                raise RemoteJobFailed(self._failure(slug, status.error or "it gave no reason"))
            if status.state == "cancelled" and not running:
                raise RemoteJobCancelled(
                    f"The fine-tune {slug!r} was cancelled; run it again to go on where it was."
                )
            if not running:
                if launches > MOST_RESUMPTIONS:
                    self._settle(slug, status, "failed")
                    raise RemoteJobFailed(
                        self._failure(slug, "its process ended without a word, perhaps out of memory")
                    )
                launches += 1
                self._launch(slug)
            if time.monotonic() - moved > self._patience:
                await self.cancel(slug)
                raise RemoteJobTimedOut(
                    f"The fine-tune {slug!r} made no progress for {self._patience:.0f} s and was stopped at step "
                    f"{status.step} of {status.total_steps}. Lower batch_size or max_seq_length and run it again."
                )
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _launch(self, slug: str) -> None:
        folder = self.folder(slug)
        previous = self._status(slug) or JobStatus()
        # An old end must not be taken for the new one's.
        self._settle(slug, previous, "running")
        process = spawn_python(
            "blocks.local_platform.training.trainer", [str(folder)], folder / job_files.LOG_FILE
        )
        write_json(folder / job_files.PROCESS_FILE, process)

    def _settle(self, slug: str, status: JobStatus, state: State) -> None:
        error = None if state == "running" else status.error
        changed = msgspec.structs.replace(status, state=state, error=error)
        write_json(self.folder(slug) / job_files.STATUS_FILE, changed)

    def _report(self, slug: str, status: JobStatus, progress: Progress) -> None:
        parts = [f"epoch {status.epoch}"] if status.epoch else [status.detail or "starting"]
        parts += [status.detail] if status.epoch and status.detail else []
        parts += [f"loss {status.loss:.3f}"] if status.loss is not None else []
        parts += [f"validation {status.val_loss:.3f}"] if status.val_loss is not None else []
        parts += [f"{status.tokens_per_second:.0f} tokens/s"] if status.tokens_per_second else []
        progress(f"fine-tune {slug}", status.step, status.total_steps or None, ", ".join(parts))

    def _failure(self, slug: str, reason: str) -> str:
        folder = self.folder(slug)
        tail = log_tail(folder / job_files.LOG_FILE)
        said = f" Its log ends: {tail}" if tail else ""
        return f"The fine-tune {slug!r} failed: {reason}. See {folder / job_files.LOG_FILE}.{said}"

    def _customization(self, slug: str, status: JobStatus) -> Customization:
        return Customization(
            job=slug,
            model=slug,
            status="completed",
            train_loss=status.loss,
            val_loss=status.val_loss,
            train_rows=status.rows,
            skipped_rows=status.skipped_rows,
            skipped=status.skipped,
            tokens=status.tokens,
            runtime_seconds=status.seconds,
            adapter=str(self._adapter(slug)),
            losses=job_files.losses_of(self.folder(slug)),
            kept_epoch=status.kept_epoch,
            epoch_scores=status.scores,
            cut=status.cut,
            notes=status.notes,
        )

    def _adapter(self, slug: str) -> Path:
        return self.folder(slug) / job_files.ADAPTER_FOLDER

    def _status(self, slug: str) -> JobStatus | None:
        return read_json(self.folder(slug) / job_files.STATUS_FILE, JobStatus)

    def _process(self, slug: str) -> ProcessRef | None:
        return read_json(self.folder(slug) / job_files.PROCESS_FILE, ProcessRef)

    def _is_running(self, slug: str) -> bool:
        process = self._process(slug)
        return process is not None and process.is_alive()


@contextlib.contextmanager
def failures_named(name: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into an error that names the job."""
    try:
        yield
    except OSError as error:
        raise RemoteError(
            f"The files of {name!r} cannot be written ({error.strerror}: {error.filename}). Free space or check rights."
        ) from error

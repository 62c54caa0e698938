"""What the platform and the training process tell each other through the job's directory.

job.json       what to train            written by the platform before the process starts
process.json   who trains               written by the platform
status.json    how far it is            written by the training process
losses.jsonl   losses by step           appended by the training process; the last line of a step counts
checkpoint.pt  where to go on           written by the training process
adapter/       the result, PEFT's own format with card.json; there whole or not at all
log.txt        what the process printed
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from flywheel.findings.loss_curve import thinned
from flywheel.results import EpochScore, LossPoint

JOB_FILE = "job.json"
PROCESS_FILE = "process.json"
STATUS_FILE = "status.json"
LOSSES_FILE = "losses.jsonl"
CHECKPOINT_FILE = "checkpoint.pt"
ADAPTER_FOLDER = "adapter"
CARD_FILE = "card.json"
LOG_FILE = "log.txt"
TRAINING_FILE = "training.jsonl"
VALIDATION_FILE = "validation.jsonl"


State = Literal["running", "completed", "failed", "cancelled"]


class JobSpec(msgspec.Struct, frozen=True):
    """One fine-tune. `data` is the SHA-256 of the training and validation rows.

    `metrics` says by which answers epochs are compared, where they are compared by answers.
    """

    name: str
    model: str
    folder: str
    train: str
    data: str
    training: dict[str, Any]
    lora: dict[str, Any]
    metrics: dict[str, Any] = {}

    def same_work_as(self, other: JobSpec) -> bool:
        """Whether both train the same thing; where the rows lie does not matter."""
        return msgspec.structs.replace(self, train=other.train, folder=other.folder) == other


class JobStatus(msgspec.Struct, frozen=True):
    """How far a job is.

    `tokens` counts what the rows have, each row in full and each epoch anew; `computed_tokens` what was left to compute
    once shared prefixes were shared. `best_epoch` is the best so far, 0 before any was measured: the one with the
    lowest validation loss, or the one whose answers scored highest; `best_val_loss` and `best_score` are its own.
    `scores` has each epoch that was scored. `cut` says where and why it ended before all its epochs.
    """

    state: State = "running"
    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    rows: int = 0
    skipped_rows: int = 0
    loss: float | None = None
    val_loss: float | None = None
    tokens: int = 0
    computed_tokens: int = 0
    seconds: float = 0.0
    detail: str = ""
    error: str | None = None
    skipped: dict[str, int] = {}
    best_epoch: int = 0
    best_val_loss: float | None = None
    best_score: float | None = None
    scores: list[EpochScore] = []
    cut: str = ""
    kept_epoch: int = 0
    notes: list[str] = []

    @property
    def tokens_per_second(self) -> float:
        """Throughput of training, over the time it really trained."""
        return self.tokens / self.seconds if self.seconds else 0.0


def note_losses(folder: Path, point: LossPoint) -> None:
    """Append the losses of one step."""
    with (folder / LOSSES_FILE).open("ab") as file:
        file.write(msgspec.json.encode(point) + b"\n")


def losses_of(folder: Path) -> list[LossPoint]:
    """The curve so far; a line that a kill tore is passed over."""
    try:
        lines = (folder / LOSSES_FILE).read_bytes().splitlines()
    except FileNotFoundError:  # of a job from before there were any
        return []
    points = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            points.append(msgspec.json.decode(line, type=LossPoint))
    return thinned(points)


def data_hash(train: Path) -> str:
    """SHA-256 over the names and contents of the two files; a missing validation file counts as empty."""
    digest = hashlib.sha256()
    for name in (TRAINING_FILE, VALIDATION_FILE):
        path = train / name
        digest.update(f"{name}:{path.stat().st_size if path.is_file() else 0}\n".encode())
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

"""What a training that was stopped goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from blocks.local_platform.training import job_files
from blocks.local_platform.training.job_files import JobStatus


class Checkpoint(NamedTuple):
    """`training` is what `LoraTraining.state` gives; `dtype` is that of the base's weights. What was begun in one
    precision goes on in it: which is the fastest is measured, and a busy machine may measure otherwise.
    """

    training: dict[str, Any]
    status: JobStatus
    dtype: torch.dtype


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in a job's folder: there is a whole one at any moment."""
    temporary = folder / f".{job_files.CHECKPOINT_FILE}.{os.getpid()}"
    written = {
        "training": checkpoint.training,
        "status": msgspec.to_builtins(checkpoint.status),
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
    }
    torch.save(written, temporary)
    os.replace(temporary, folder / job_files.CHECKPOINT_FILE)


def load(folder: Path) -> Checkpoint | None:
    """The checkpoint in a job's folder; None where there is none, or one of an earlier version of this program."""
    path = folder / job_files.CHECKPOINT_FILE
    if not path.is_file():
        return None
    written = torch.load(path, map_location="cpu", weights_only=True)
    if "dtype" not in written:
        return None
    status = msgspec.convert(written["status"], JobStatus)
    return Checkpoint(written["training"], status, getattr(torch, written["dtype"]))

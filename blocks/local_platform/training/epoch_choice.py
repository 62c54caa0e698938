"""Which epoch of a training is the best so far, and when to train no more: decided by what was measured."""

from __future__ import annotations

import math

import msgspec

from blocks.local_platform.training.job_files import JobStatus
from flywheel.config import TrainingConfig


def measured(
    status: JobStatus, training: TrainingConfig, epoch: int, val_loss: float | None, score: float | None
) -> JobStatus | None:
    """The status with `epoch` as the best one; None where an earlier one is at least as good.

    With keep: best_score the higher score is better, and of equal scores the lower validation loss; an epoch without a
    score is not compared. Otherwise the lower validation loss is better.
    """
    loss = math.inf if val_loss is None else val_loss
    best_loss = math.inf if status.best_val_loss is None else status.best_val_loss
    if training.keep == "best_score":
        best = status.best_score
        better = score is not None and (best is None or (score, -loss) > (best, -best_loss))
    else:
        better = loss < best_loss
    if not better:
        return None
    return msgspec.structs.replace(status, best_epoch=epoch, best_val_loss=val_loss, best_score=score)


def gets_no_better(status: JobStatus, training: TrainingConfig) -> bool:
    """Whether the last epochs, `patience_epochs` of them, have been no better than the best before them."""
    patience, best = training.patience_epochs, status.best_epoch
    if patience is None or not best:
        return False
    whole_epochs = status.step * training.epochs // status.total_steps
    return whole_epochs - best >= patience


def is_out_of_time(status: JobStatus, training: TrainingConfig, more: float = 0.0) -> bool:
    """Whether `max_hours` are over, `more` seconds counted in that the status does not have yet."""
    return training.max_hours is not None and status.seconds + more >= training.max_hours * 3600


def words_of_cut(status: JobStatus, training: TrainingConfig) -> str:
    """Where and why a training ends that has reached its bound."""
    return (
        f"stopped at max_hours ({training.max_hours:g} h) after step {status.step} of {status.total_steps}, in epoch "
        f"{status.epoch} of {training.epochs}"
    )

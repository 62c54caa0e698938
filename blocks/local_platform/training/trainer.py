"""The worker process of one fine-tune: python -m blocks.local_platform.training.trainer JOB_DIRECTORY

It needs nobody once it runs: its state is in the directory. SIGTERM makes it save where it is and end as cancelled;
started again, it goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from blocks.local_platform.atomic_json import read_json, write_json
from blocks.local_platform.training import epoch_choice, job_files
from blocks.local_platform.training.adapter_card import write_card
from blocks.local_platform.training.job_files import JobSpec, JobStatus
from flywheel.config import LoraConfig, TrainingConfig
from flywheel.errors import DatasetError, FlywheelError, TrainingOutOfTime
from flywheel.results import LossPoint

if TYPE_CHECKING:
    import torch

    from blocks.local_platform.models.chat_format import ChatFormat, Example
    from blocks.local_platform.training.checkpoint import Checkpoint
    from blocks.local_platform.training.epoch_scores import EpochScores
    from blocks.local_platform.training.lora_training import LoraTraining
    from blocks.local_platform.training.training_rows import Rows

SECONDS_BETWEEN_CHECKPOINTS = 30.0
MOST_VALIDATION_ROWS = 64
NOTHING_TO_ASK = (
    "keep: best_score found no validation item that this model can be asked; the last epoch is kept."
)
GOES_ON = (
    *("epoch", "step", "loss", "val_loss", "best_epoch", "best_val_loss", "best_score", "scores"),
    *("tokens", "computed_tokens", "seconds"),
)
"""What of its status a training takes up again with its checkpoint."""


class Cancelled(Exception):
    """SIGTERM came."""


class Trainer:
    """One run of the process over a job's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        spec = read_json(folder / job_files.JOB_FILE, JobSpec)
        if spec is None:
            raise DatasetError(
                f"{folder} holds no readable {job_files.JOB_FILE}; submit the fine-tune again."
            )
        self._spec = spec
        self._training = TrainingConfig.model_validate(spec.training)
        self._lora = LoraConfig.model_validate(spec.lora)
        self._cancelled = False
        self._dtype: torch.dtype
        self.status = JobStatus(detail="loading")

    def cancel(self, *_: Any) -> None:
        """Stop after the current step. For use as a signal handler."""
        self._cancelled = True

    def tell(self, **changes: Any) -> None:
        """Change the status and write it down."""
        self.status = msgspec.structs.replace(self.status, **changes)
        write_json(self._folder / job_files.STATUS_FILE, self.status)

    def run(self) -> None:
        """Train to the end, or until cancelled."""
        from blocks.local_platform.models.chat_format import ChatFormat
        from blocks.local_platform.training.training_rows import read_rows

        self.tell()
        chat_format = ChatFormat(Path(self._spec.folder))
        train = Path(self._spec.train)
        rows = read_rows(train / job_files.TRAINING_FILE, chat_format, self._training.max_seq_length)
        held_out = read_rows(train / job_files.VALIDATION_FILE, chat_format, self._training.max_seq_length)
        for reason, count in rows.skipped.items():
            print(f"{count} training rows left out: {reason}", flush=True)
        if not rows.examples:
            raise DatasetError(
                f"None of the {sum(rows.skipped.values())} training rows can be used "
                f"({'; '.join(rows.skipped) or 'there are none'}). Raise max_seq_length or give more rows."
            )
        self._stop_if_cancelled()
        scores = self._epoch_scores(chat_format)
        training = self._prepare(rows)
        self._train(training, rows, held_out, scores)
        self._finish(training, rows)

    def _epoch_scores(self, chat_format: ChatFormat) -> EpochScores | None:
        """Who compares epochs by their answers; None where nobody has to, or nothing can be asked."""
        if self._training.keep != "best_score":
            return None
        from blocks.local_platform.training.epoch_scores import scores_for

        scores = scores_for(self._spec, self._training, chat_format)
        if not len(scores):
            self._note(NOTHING_TO_ASK)
            return None
        return scores

    def _prepare(self, rows: Rows) -> LoraTraining:
        from blocks.local_platform.models.model_loading import fastest_dtype, load_model, pick_device
        from blocks.local_platform.training.checkpoint import load
        from blocks.local_platform.training.lora_training import LoraTraining

        device = pick_device()
        saved = load(self._folder)
        # What was begun in one precision goes on in it, whatever is the fastest one by now.
        self._dtype = saved.dtype if saved else fastest_dtype(device)
        model = load_model(Path(self._spec.folder), device, self._dtype)
        steps = self._training.epochs * self._steps_of_epoch(rows)
        training = LoraTraining(model, self._training, self._lora, steps)
        self.tell(
            total_steps=steps,
            rows=len(rows.examples),
            skipped_rows=sum(rows.skipped.values()),
            skipped=dict(rows.skipped),
            detail="",
        )
        if saved:
            self._restore(training, saved)
        return training

    def _steps_of_epoch(self, rows: Rows) -> int:
        return -(-len(rows.examples) // self._training.batch_size)

    def _train(self, training: LoraTraining, rows: Rows, held_out: Rows, scores: EpochScores | None) -> None:
        from blocks.local_platform.training.lora_training import order_of_rows

        per_epoch = self._steps_of_epoch(rows)
        validation = held_out.examples[:MOST_VALIDATION_ROWS]
        saved = last = time.monotonic()
        while self.status.step < self.status.total_steps and not epoch_choice.gets_no_better(
            self.status, self._training
        ):
            if epoch_choice.is_out_of_time(self.status, self._training):
                self._cut(training, validation, within_an_epoch=self.status.step % per_epoch > 0)
                return
            self._stop_if_cancelled(training)
            epoch, within = divmod(self.status.step, per_epoch)
            order = order_of_rows(len(rows.examples), self._training.seed, epoch)
            chosen = order[within * self._training.batch_size : (within + 1) * self._training.batch_size]
            examples = [rows.examples[row] for row in chosen]
            loss, computed = training.step(self.status.step, examples)
            val_loss = self.status.val_loss
            if within == per_epoch - 1:
                val_loss = training.validate(validation)
                score = self._scored(training, scores, epoch + 1, val_loss, since=last)
                self._note_best(training, epoch + 1, val_loss, score)
            now = time.monotonic()
            self.tell(
                epoch=epoch + 1,
                step=self.status.step + 1,
                loss=loss,
                val_loss=val_loss,
                tokens=self.status.tokens + sum(len(e.prompt) + len(e.answer) for e in examples),
                computed_tokens=self.status.computed_tokens + computed,
                seconds=self.status.seconds + now - last,
                detail="",
            )
            measured = val_loss if within == per_epoch - 1 else None
            job_files.note_losses(self._folder, LossPoint(self.status.step, loss, measured))
            last = now
            if within == per_epoch - 1 or now - saved > SECONDS_BETWEEN_CHECKPOINTS:
                self._save(training)
                saved = last = time.monotonic()

    def _scored(
        self,
        training: LoraTraining,
        scores: EpochScores | None,
        epoch: int,
        val_loss: float | None,
        *,
        since: float,
    ) -> float | None:
        """What the answers score after an epoch; None where they are not compared, or time ran out before the last."""
        if scores is None:
            return None

        def goes_on(answered: int) -> bool:
            self.tell(detail=f"validation items answered: {answered} of {len(scores)}")
            spent = time.monotonic() - since
            return not (self._cancelled or epoch_choice.is_out_of_time(self.status, self._training, spent))

        found = scores.ask(training.answering(), epoch, val_loss, goes_on)
        self._stop_if_cancelled()  # goes on from the last checkpoint: this epoch is to be scored
        if found is None:
            self._note(f"max_hours was over before the answers of epoch {epoch} could be scored.")
            return None
        self.status = msgspec.structs.replace(self.status, scores=[*self.status.scores, found])
        return found.score.value

    def _note(self, sentence: str) -> None:
        self.status = msgspec.structs.replace(self.status, notes=[*self.status.notes, sentence])

    def _note_best(
        self, training: LoraTraining, epoch: int, val_loss: float | None, score: float | None
    ) -> None:
        better = epoch_choice.measured(self.status, self._training, epoch, val_loss, score)
        if better is not None:
            self.status = better
            if self._training.keep != "last":
                training.remember()

    def _cut(self, training: LoraTraining, validation: list[Example], *, within_an_epoch: bool) -> None:
        """End where the training stands, by the bound of hours. An epoch that is cut in two is measured as it is.

        Raises: TrainingOutOfTime where the settings say so.
        """
        cut = epoch_choice.words_of_cut(self.status, self._training)
        self.status = msgspec.structs.replace(self.status, cut=cut)
        if self._training.at_max_hours == "fail":
            raise TrainingOutOfTime(f"It was {cut}.")
        if within_an_epoch:
            val_loss = training.validate(validation)
            self._note_best(training, self.status.epoch, val_loss, None)
            self.status = msgspec.structs.replace(self.status, val_loss=val_loss)
            job_files.note_losses(self._folder, LossPoint(self.status.step, self.status.loss, val_loss))

    def _stop_if_cancelled(self, training: LoraTraining | None = None) -> None:
        if self._cancelled:
            if training is not None:
                self._save(training)
            raise Cancelled

    def _save(self, training: LoraTraining) -> None:
        from blocks.local_platform.training.checkpoint import Checkpoint, save

        save(self._folder, Checkpoint(training.state(), self.status, self._dtype))

    def _restore(self, training: LoraTraining, saved: Checkpoint) -> None:
        status = saved.status
        if status.total_steps != self.status.total_steps:
            return  # of another version of the rows or of this program
        training.restore(saved.training)
        self.tell(**{name: getattr(status, name) for name in GOES_ON})
        print(f"resumed at step {status.step} of {status.total_steps} in {self._dtype}", flush=True)

    def _finish(self, training: LoraTraining, rows: Rows) -> None:
        target = self._folder / job_files.ADAPTER_FOLDER
        temporary = self._folder / f".adapter.{os.getpid()}"
        epoch = self.status.epoch
        if self._training.keep != "last" and self.status.best_epoch:
            training.go_back()
            epoch = self.status.best_epoch
            self.tell(val_loss=self.status.best_val_loss)
        self.tell(kept_epoch=epoch)
        training.save_adapter(temporary, self._spec.model)
        write_card(temporary / job_files.CARD_FILE, self._spec, self.status, len(rows.examples))
        shutil.rmtree(target, ignore_errors=True)
        os.rename(temporary, target)
        self.tell(state="completed")
        (self._folder / job_files.CHECKPOINT_FILE).unlink(missing_ok=True)


def use_all_cores() -> None:
    """This process is the training's alone."""
    from blocks.local_platform.models.model_loading import use_cores

    use_cores()


def main() -> int:
    """Run the job whose directory is the only argument."""
    trainer = Trainer(Path(sys.argv[1]))
    signal.signal(signal.SIGTERM, trainer.cancel)
    try:
        trainer.tell()
        use_all_cores()
        trainer.run()
    except Cancelled:
        trainer.tell(state="cancelled")
        return 0
    except FlywheelError as error:
        trainer.tell(state="failed", error=str(error))
        return 1
    except Exception as error:
        trainer.tell(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())

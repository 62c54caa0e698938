"""Which epoch of a training is kept and where it is cut: the trainer within this process, on a toy model."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks.local_platform.atomic_json import read_json, write_json
from blocks.local_platform.models.adapters import merged
from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.model_loading import load_model
from blocks.local_platform.serving.chat_requests import completion
from blocks.local_platform.serving.engine import Engine
from blocks.local_platform.serving.generation import Generation
from blocks.local_platform.training import checkpoint, job_files
from blocks.local_platform.training.epoch_choice import gets_no_better, is_out_of_time, measured
from blocks.local_platform.training.job_files import JobSpec, JobStatus
from blocks.local_platform.training.trainer import Cancelled, Trainer
from flywheel.config import LoraConfig, MetricsConfig, TrainingConfig
from flywheel.evaluation.scoring import score_answer
from flywheel.results import EvalItem
from tests.fakes.toy_model import write_toy_model

MOMENT = 1e-9
"""Hours: over after the first step, however fast the machine is."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy") / "model", weights=True)


class Trained:
    """A job's folder, and the trainer that works on it."""

    def __init__(
        self, folder: Path, model: Path, rows: int = 6, validation: int = 6, **training: Any
    ) -> None:
        self.folder = folder
        self.rows = [
            {"messages": [question(row), {"role": "assistant", "content": f"Answer {row}"}], "tools": []}
            for row in range(rows)
        ]
        for name, part in (("training.jsonl", self.rows), ("validation.jsonl", self.rows[:validation])):
            (folder / name).write_text("\n".join(map(json.dumps, part)))
        self.model = model
        spec = JobSpec(
            name="job",
            model=str(model),
            folder=str(model),
            train=str(folder),
            data="",
            training=TrainingConfig(batch_size=2, learning_rate=0.02, **training).model_dump(),
            lora=LoraConfig(adapter_dim=4).model_dump(),
            metrics=MetricsConfig(primary="chrf").model_dump(include={"primary", "arguments"}),
        )
        write_json(folder / job_files.JOB_FILE, spec)
        self.trainer = Trainer(folder)

    def run(self) -> JobStatus:
        self.trainer.run()
        status = read_json(self.folder / job_files.STATUS_FILE, JobStatus)
        assert status is not None
        return status

    def card(self) -> dict[str, Any]:
        return json.loads((self.folder / "adapter" / "card.json").read_text())  # type: ignore[no-any-return]


SCORED: dict[str, Any] = {"epochs": 3, "keep": "best_score", "score_items": 5}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Trained, JobStatus]:
    """A training whose epochs were compared by answers, to its end."""
    work = Trained(tmp_path_factory.mktemp("scored"), model, **SCORED)
    return work, work.run()


def question(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"Question number {number}"}


def test_the_epoch_whose_answers_score_best_is_kept_and_every_epoch_is_told(
    scored: tuple[Trained, JobStatus],
) -> None:
    work, status = scored
    assert [found.epoch for found in status.scores] == [1, 2, 3]
    assert {found.metric for found in status.scores} == {"chrf"}  # the run's primary metric
    for found in status.scores:
        assert (found.score.n, found.score.unscored) == (5, 0)
        assert found.score.interval is not None
    best = max(status.scores, key=lambda found: (found.score.value or 0.0, -(found.val_loss or 0.0)))
    assert status.kept_epoch == work.card()["epoch"] == best.epoch
    assert status.val_loss == best.val_loss
    # The same score comes out of the adapter that was kept, merged and served as it will be.
    again = [score for dtype in (torch.float32, torch.bfloat16) for score in scores_of_kept(work, dtype)]
    assert any(best.score.value == pytest.approx(score, abs=0.03) for score in again)


def scores_of_kept(work: Trained, dtype: torch.dtype) -> list[float]:
    """Mean scores of the kept adapter over every choice of five of the six validation rows.

    Which precision the training took depends on the machine, so both are tried.
    """
    chat_format = ChatFormat(work.model)
    base = load_model(work.model, torch.device("cpu"), dtype)
    engine = Engine(chat_format, 512)
    engine.add_model("kept", merged(base, work.folder / "adapter"))
    engine.start()
    found = []
    for row in work.rows:
        ended = threading.Event()
        prompt, answer = chat_format.example(row["messages"])
        generation = Generation(
            "kept", prompt, 2 * len(answer) + 32, on_end=lambda _, ended=ended: ended.set()
        )
        engine.submit(generation)
        assert ended.wait(60)
        item = EvalItem(
            "i", {"messages": row["messages"][:1]}, {"choices": [{"message": row["messages"][1]}]}, "i"
        )
        found.append(score_answer(item, completion(generation, {}, chat_format), False)["chrf"] or 0.0)
    engine.close(60)
    return [(sum(found) - left_out) / 5 for left_out in found]


def test_without_validation_rows_the_last_epoch_is_kept_and_a_note_says_why(
    tmp_path: Path, model: Path
) -> None:
    status = Trained(tmp_path, model, validation=0, epochs=2, keep="best_score").run()
    assert (status.kept_epoch, status.scores) == (2, [])
    assert status.notes == [
        "keep: best_score found no validation item that this model can be asked; the last epoch is kept."
    ]


@pytest.mark.parametrize("keep", ["last", "best", "best_score"])
def test_a_training_that_is_cut_keeps_what_was_trained_measures_it_and_says_so(
    tmp_path: Path, model: Path, keep: str
) -> None:
    work = Trained(tmp_path, model, epochs=4, keep=keep, max_hours=MOMENT)
    status = work.run()
    assert status.state == "completed"
    assert status.cut == "stopped at max_hours (1e-09 h) after step 1 of 12, in epoch 1 of 4"
    assert work.card()["cut"] == status.cut
    assert (status.step, status.kept_epoch, status.scores) == (1, 1, [])
    (point,) = job_files.losses_of(tmp_path)
    assert point.validation == status.val_loss  # of the very weights that are kept
    assert status.val_loss is not None


def test_time_that_is_over_while_answers_are_compared_leaves_the_epoch_unscored_and_says_so(
    tmp_path: Path, model: Path
) -> None:
    # One step is one epoch: the bound is passed while its answers are waited for.
    status = Trained(tmp_path, model, rows=2, epochs=3, keep="best_score", max_hours=MOMENT).run()
    assert status.notes == ["max_hours was over before the answers of epoch 1 could be scored."]
    assert (status.step, status.kept_epoch, status.scores) == (1, 1, [])
    assert "after step 1 of 3" in status.cut


def test_a_training_that_is_stopped_while_answers_are_compared_scores_that_epoch_when_it_goes_on(
    tmp_path: Path, model: Path
) -> None:
    work = Trained(tmp_path, model, **SCORED)
    trainer = work.trainer
    told = trainer.tell

    def stop_in_epoch_2(**changes: Any) -> None:
        told(**changes)
        if changes.get("detail") and len(trainer.status.scores) == 1:
            trainer.cancel()

    trainer.tell = stop_in_epoch_2  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        trainer.run()
    work.trainer = Trainer(work.folder)
    again = work.run()
    assert [found.epoch for found in again.scores] == [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_training_goes_on_in_the_precision_that_it_was_begun_in_whatever_is_the_fastest_by_now(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], dtype: torch.dtype
) -> None:
    work = Trained(tmp_path, model, epochs=3)
    trainer = work.trainer
    told = trainer.tell

    def stop_after_epoch_1(**changes: Any) -> None:
        told(**changes)
        if changes.get("epoch") == 2:
            trainer.cancel()

    trainer.tell = stop_after_epoch_1  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        trainer.run()
    begun = checkpoint.load(work.folder)
    assert begun is not None
    checkpoint.save(work.folder, begun._replace(dtype=dtype))
    work.trainer = Trainer(work.folder)
    assert work.run().state == "completed"
    assert f"of 9 in {dtype}" in capsys.readouterr().out


def test_of_equal_scores_the_lower_loss_is_better_and_an_epoch_without_a_score_is_not_compared() -> None:
    by_score = TrainingConfig(keep="best_score", patience_epochs=2, epochs=9)
    status = JobStatus(total_steps=9)
    for epoch, val_loss, score, best in [
        (1, 0.9, 0.50, 1),
        (2, 0.1, None, 1),
        (3, 0.8, 0.50, 3),
        (4, 0.8, 0.50, 3),
        (5, 0.1, 0.25, 3),
        (6, 0.7, 0.75, 6),
    ]:
        status = measured(status, by_score, epoch, val_loss, score) or status
        assert status.best_epoch == best
        at_epoch = JobStatus(step=epoch, total_steps=9, best_epoch=status.best_epoch)
        assert gets_no_better(at_epoch, by_score) is (epoch - best >= 2)
    assert (status.best_score, status.best_val_loss) == (0.75, 0.7)


def test_hours_count_what_earlier_attempts_trained() -> None:
    bound = TrainingConfig(max_hours=1)
    assert not is_out_of_time(JobStatus(seconds=3_000), bound)
    assert is_out_of_time(JobStatus(seconds=3_000), bound, more=600)
    assert not is_out_of_time(JobStatus(seconds=1e9), TrainingConfig())

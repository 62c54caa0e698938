"""What the terminal says of a training."""

from __future__ import annotations

from flywheel.cli.show import throughput_lines
from flywheel.results import CandidateResult, Customization, RunResult


def run_with(tuned: Customization) -> RunResult:
    candidate = CandidateResult("a", "m", "completed", customization=tuned)
    return RunResult("r", "w", "c", "completed", "2026-01-01T00:00:00Z", candidates=[candidate])


def test_rows_that_no_training_saw_are_told_with_their_reasons() -> None:
    assert throughput_lines(
        run_with(Customization("j", train_rows=9, skipped_rows=3, skipped={"x": 2, "y": 1}))
    ) == ["a: 3 rows were left out of the training (2: x; 1: y)"]
    assert throughput_lines(run_with(Customization("j", train_rows=9))) == []


def test_a_fine_tune_that_was_cut_is_told_with_what_was_kept() -> None:
    tuned = Customization(
        "j", status="completed", cut="stopped at max_hours (2 h)", kept_epoch=3, notes=["Odd."]
    )
    assert throughput_lines(run_with(tuned)) == [
        "a: The fine-tune was stopped at max_hours (2 h); the weights of epoch 3 are kept.",
        "a: Odd.",
    ]

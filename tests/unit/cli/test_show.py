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

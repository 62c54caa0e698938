"""A training curve of any length becomes one that a page can show."""

from __future__ import annotations

from pathlib import Path

from blocks.local_platform.training.job_files import LOSSES_FILE, losses_of, note_losses
from flywheel.findings.loss_curve import MOST_POINTS, merged, thinned
from flywheel.results import LossPoint


def test_a_long_curve_keeps_its_ends_its_shape_and_its_validation_losses() -> None:
    points = [LossPoint(step, 1 / step, 2 / step if step % 1000 == 0 else None) for step in range(1, 10_001)]
    kept = thinned(points)
    assert MOST_POINTS <= len(kept) <= MOST_POINTS + 11
    assert (kept[0].step, kept[-1].step) == (1, 10_000)
    assert len([point for point in kept if point.validation is not None]) == 10
    assert [point.step for point in kept] == sorted({point.step for point in kept})


def test_a_step_that_was_computed_again_counts_once_with_its_last_loss() -> None:
    assert thinned([LossPoint(1, 3.0), LossPoint(2, 2.0), LossPoint(2, 1.5)])[-1] == LossPoint(2, 1.5)


def test_two_series_meet_by_step() -> None:
    assert merged({1: 3.0, 2: 2.0}, {2: 2.5}) == [LossPoint(1, 3.0), LossPoint(2, 2.0, 2.5)]


def test_a_line_that_a_kill_tore_costs_nothing_but_itself(tmp_path: Path) -> None:
    note_losses(tmp_path, LossPoint(1, 3.0))
    with (tmp_path / LOSSES_FILE).open("ab") as file:
        file.write(b'{"step":2,"tr')
    assert losses_of(tmp_path) == [LossPoint(1, 3.0)]
    assert losses_of(tmp_path / "of-an-older-version") == []

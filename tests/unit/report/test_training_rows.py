"""What the report's page says of a fine-tune beside its curve."""

from __future__ import annotations

from flywheel.report.html.pictures import training_pictures
from flywheel.results import CandidateResult, Customization, EpochScore, Interval, RunResult, Score


def test_scores_of_epochs_and_a_cut_stand_beside_the_curve_with_n_and_interval() -> None:
    tuned = Customization(
        "j",
        status="completed",
        kept_epoch=2,
        epoch_scores=[
            EpochScore(1, "rouge_l", Score(0.25, 7, 1, Interval(0.1, 0.4)), 0.5),
            EpochScore(2, "rouge_l", Score(0.75, 8, 0, Interval(0.6, 0.9))),
        ],
        cut="stopped at max_hours (2 h)",
        notes=["<b>Odd.</b>"],
    )
    candidate = CandidateResult("a", "m", "completed", customization=tuned)
    run = RunResult("r", "w", "c", "completed", "2026-01-01T00:00:00Z", candidates=[candidate])
    (picture,) = training_pictures(run)
    rows = {row["figure"]: row["value"] for row in picture["rows"]}
    assert rows["rouge_l of validation answers after epoch 1"] == (
        "0.250 [0.10, 0.40], n 7, 1 unscored, validation loss 0.500"
    )
    assert rows["rouge_l of validation answers after epoch 2"] == "0.750 [0.60, 0.90], n 8, 0 unscored (kept)"
    assert rows["epoch that is kept"] == "2"
    assert rows["cut"] == "stopped at max_hours (2 h)"
    assert "Odd." in rows["note"]

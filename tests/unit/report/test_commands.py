"""Commands for readers of a report: they find the run wherever it is kept."""

from __future__ import annotations

import shlex

import msgspec

from flywheel.report.commands import command
from flywheel.report.next_steps import next_steps
from flywheel.report.summary_page import summary_markdown
from flywheel.results import CandidateResult, RunResult
from tests.unit.report.full_run import full_run


def test_a_run_in_the_usual_stores_needs_no_more_than_its_id() -> None:
    assert command("results 3f2a", None) == "flywheel results 3f2a"
    usual = {"home": "", "run_store": "embedded", "dataset_store": "embedded", "platform": "nemo"}
    assert command("results 3f2a", usual) == "flywheel results 3f2a"


def test_stores_of_ones_own_are_named_and_a_shell_reads_them_as_they_are() -> None:
    url = "s3://bucket/with space"
    typed = command("runs", {"home": "/h m", "run_store": "mongodb", "dataset_store": url})
    assert shlex.split(typed) == [
        *("FLYWHEEL_HOME=/h m", "flywheel", "runs"),
        *("--set", "connections.run_store=mongodb", "--set", f"connections.dataset_store={url}"),
    ]


def test_every_next_step_finds_the_run_where_it_is_kept_or_where_it_was_found() -> None:
    kept = msgspec.structs.replace(full_run(), config={"connections": {"run_store": "mongodb"}})
    typed = [step.command for step in next_steps(kept) if step.command]
    assert typed
    assert all("--set connections.run_store=mongodb" in command for command in typed)
    assert "--set connections.run_store=mongodb`" in summary_markdown(kept)
    assert not any("mongodb" in step.command for step in next_steps(kept, {"run_store": "embedded"}))


def test_where_nothing_was_answered_nobody_is_sent_to_read_answers() -> None:
    failed = CandidateResult("small", "m", "failed", error="no such key")
    run = RunResult("run-1", "w", "c", "failed", "2026-01-01T00:00:00Z", candidates=[failed])
    assert next_steps(run) == [("small is failed: no such key", "")]


def test_a_candidate_that_waits_is_no_reason_to_look_for_a_larger_one() -> None:
    waits = CandidateResult("small", "m", "pending", error="waits for the window", waits_for="window")
    run = RunResult("run-1", "w", "c", "partial", "2026-01-01T00:00:00+00:00", candidates=[waits])
    assert next_steps(run) == [("small waits; go on later.", "flywheel run --resume run-1")]


def test_who_is_told_to_evaluate_more_items_is_told_where_they_can_come_from() -> None:
    run = full_run()
    assert run.analysis is not None
    undecided = [v for v in run.analysis.verdicts if v.outcome == "cannot_tell"]

    def told(needed: int | None, **history: bool) -> str:
        verdicts = [msgspec.structs.replace(v, items_needed=needed) for v in undecided]
        assert run.analysis is not None
        analysis = msgspec.structs.replace(run.analysis, verdicts=verdicts)
        config = {"history_config": history}
        steps = next_steps(msgspec.structs.replace(run, analysis=analysis, config=config))
        return " ".join(step.text for step in steps)

    assert "eval_size=120, with a log that holds enough records no run has trained on." in told(120)
    assert "keep_evaluation_set=false" not in told(120, keep_evaluation_set=False)
    assert "eval_size" not in told(None)

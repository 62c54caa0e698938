"""What a run makes of those before it: the same items asked again, regressions, and files that are gone."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import msgspec
import pytest

from blocks.connections import open_dataset_store, open_log_store, open_run_store
from flywheel.cli.score_run import CONCLUSIONS
from flywheel.config import HistoryConfig, LogsConfig
from flywheel.report.evaluation_set import remarks
from tasks.concluding.conclusions import drawn_again
from tasks.sweep_drift import stale_because
from tests.integration.analysing import answering, settings, whole_run, write_log


async def test_a_regression_is_seen_on_the_kept_items_of_a_log_that_has_moved_on(tmp_path: Path) -> None:
    first = settings(
        tmp_path, write_log(tmp_path / "first", range(150)), history_config=HistoryConfig(fresh_share=0.1)
    )
    before, _ = await whole_run("run-1", first, answering(lambda number: True))
    moved_on = LogsConfig(path=str(write_log(tmp_path / "second", range(100, 260))))
    later = first.model_copy(update={"logs": moved_on})
    after, analysis = await whole_run("run-2", later, answering(lambda number: number % 3 != 0))
    assert after.eval_set == before.eval_set
    holdout = analysis.holdout
    assert holdout is not None
    assert (holdout.items, holdout.fresh_items, holdout.uses) == (60, 6, 2)
    assert holdout.not_in_log > 0
    assert {(r.against, r.run_id, r.outcome) for r in analysis.regressions} == {
        ("last", "run-1", "regressed"),
        ("best", "run-1", "regressed"),
    }
    for regression in analysis.regressions:
        assert regression.difference.n == 60
        assert regression.then == 1.0
        assert regression.difference.value == pytest.approx(regression.now - 1.0)

    await whole_run(
        "run-3", later, answering(lambda number: True)
    )  # what comes after a run changes nothing of it
    store = await open_dataset_store(later.connections)
    with contextlib.closing(await open_run_store(later.connections)) as runs:
        again = drawn_again(runs.load_run("run-2"), store, runs)
    kept = msgspec.to_builtins(analysis)
    assert {name for name, value in msgspec.to_builtins(again).items() if kept[name] == value} >= set(
        CONCLUSIONS
    )


async def test_a_worn_out_evaluation_set_is_renewed_when_there_is_enough_new_traffic(tmp_path: Path) -> None:
    first = settings(
        tmp_path, write_log(tmp_path / "first", range(150)), history_config=HistoryConfig(holdout_budget=1)
    )
    before, _ = await whole_run("run-1", first, answering(lambda number: True))
    again, analysis = await whole_run("run-2", first, answering(lambda number: True))
    assert again.eval_set == before.eval_set
    assert any("worn out" in note for note in analysis.notes)

    moved_on = LogsConfig(path=str(write_log(tmp_path / "second", range(100, 260))))
    later = first.model_copy(update={"logs": moved_on})
    renewed, analysis = await whole_run("run-3", later, answering(lambda number: True))
    assert analysis.holdout is not None
    assert analysis.holdout.renewed
    assert analysis.holdout.uses == 1
    assert renewed.eval_set != before.eval_set
    assert renewed.funnel["held_back"] > 0
    assert analysis.regressions == []


async def test_a_stale_evaluation_set_is_told_with_its_reason_and_renewed_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, write_log(tmp_path / "logs" / "old", range(150)))
    before, analysis = await whole_run("run-1", config, answering(lambda number: True))
    assert analysis.drift is None, "nothing was logged since"
    write_log(tmp_path / "logs" / "new", range(150, 300), system="You are the new assistant of Acme.")
    config = config.model_copy(update={"logs": LogsConfig(path=str(tmp_path / "logs"))})
    logs, store = await open_log_store(config), await open_dataset_store(config.connections)
    seen_by_a_sweep = stale_because(before, config, logs, store, stale_from=0.2)
    assert seen_by_a_sweep.startswith("100% of the calls since have a system prompt or tools")
    told, analysis = await whole_run("run-2", config, answering(lambda number: True))
    assert analysis.drift is not None
    assert (analysis.drift.calls_then, analysis.drift.calls_now) == (150, 150)
    assert analysis.drift.stale_because == ["contexts"]
    assert told.eval_set == before.eval_set
    [remark] = [remark for remark in remarks(told) if "is stale because 100% of the calls since" in remark]
    assert "--set history_config.renew_when_stale=true" in remark

    write_log(tmp_path / "logs" / "newer", range(300, 450), system="You are the new assistant of Acme.")
    renewing = config.model_copy(update={"history_config": HistoryConfig(renew_when_stale=True)})
    asked = msgspec.structs.replace(told, config=renewing.model_dump(mode="json"))
    assert stale_because(asked, config, logs, store, stale_from=0.2) == "", (
        "it could not, and could not again"
    )
    renewed, analysis = await whole_run("run-3", renewing, answering(lambda number: True))
    assert analysis.holdout is not None
    assert analysis.holdout.renewed
    assert renewed.eval_set != before.eval_set
    assert any("was renewed. The one before it was stale because" in remark for remark in remarks(renewed))
    _, analysis = await whole_run("run-4", renewing, answering(lambda number: True))
    assert analysis.drift is None, "the new set was drawn from all that there is"
    assert stale_because(renewed, config, logs, store, stale_from=0.2) == ""


async def test_history_can_be_left_alone(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        write_log(tmp_path / "first", range(150)),
        history_config=HistoryConfig(keep_evaluation_set=False),
    )
    first, analysis = await whole_run("run-1", config, answering(lambda number: True))
    assert first.memory is None
    assert analysis.holdout is None
    second, _ = await whole_run("run-2", config, answering(lambda number: True))
    assert second.datasets == first.datasets


async def test_an_earlier_run_whose_files_are_gone_is_noted_and_ends_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path, write_log(tmp_path / "first", range(150)))
    first, _ = await whole_run("run-1", config, answering(lambda number: True))
    for evaluation in first.candidates[0].evaluations:
        shutil.rmtree(Path(str(evaluation.predictions)).parent)
    shutil.rmtree(Path(str(first.memory)))
    _, analysis = await whole_run("run-2", config, answering(lambda number: True))
    assert [verdict.outcome for verdict in analysis.verdicts] == ["surfaced", "surfaced"]
    assert analysis.regressions == []
    assert any("run-1 cannot be compared with" in note for note in analysis.notes)

"""Production contradicts itself: items are flagged, and training may leave such records out."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from blocks.connections import open_run_store
from flywheel.config import DedupConfig
from flywheel.report.contradicted import contradicted_rows
from flywheel.report.evaluation_set import remarks
from tasks.runs import begin_run
from tests.integration.analysing import answering, curate, settings, whole_run, write_log


def contradicting_log(folder: Path) -> Path:
    """Of 150 questions 60 are asked again, and every fifth of these gets an answer that says the contrary."""
    log = write_log(folder, range(150), repeats=60)
    file = log / "log.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"another answer ', '"nothing is known of '))
    return log


async def test_contradicted_items_are_flagged_and_the_scores_stand_with_and_without_them(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, contradicting_log(tmp_path / "log"))
    run, analysis = await whole_run("run-1", config, answering(lambda number: True))
    flagged = analysis.contradicted[0]
    assert [one.eval_type for one in analysis.contradicted] == ["base-eval", "customized-eval"]
    assert 1 <= flagged.contradicted == flagged.items <= 12
    assert (flagged.of, flagged.n) == (60, 60)
    assert flagged.without == 1.0, "the candidate gives production's usual answers"
    assert flagged.on_them == pytest.approx(0.0, abs=0.5), (
        "the newest answer is the reference, and the odd one"
    )
    assert flagged.score == pytest.approx(
        (flagged.on_them * flagged.items + flagged.n - flagged.items) / flagged.n
    )
    assert any(f"{flagged.items} of 60 evaluation items" in remark for remark in remarks(run))
    assert len(contradicted_rows(run)) == 2

    dropping = config.model_copy(update={"dedup_config": DedupConfig(contradictions="drop")})
    with disable_run_logger():
        await begin_run.fn("run-2", dropping)
        data = await curate("run-2", dropping)
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        funnel = runs.load_run("run-2").funnel
    assert funnel["contradicted"] == 12 - flagged.items
    assert funnel["evaluation"] == 60
    rows = (Path(data.datasets.uri) / "train" / "index.jsonl").read_text(encoding="utf-8").splitlines()
    again = {json.loads(row)["id"] for row in rows if "-again" in row}
    assert len(rows) == funnel["train"] + funnel["validation"]
    assert not again & {f"call-{number}-again" for number in range(0, 60, 5)}

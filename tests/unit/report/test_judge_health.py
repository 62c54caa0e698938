"""How far a judge can be trusted is told in full wherever people look."""

from __future__ import annotations

import json

import msgspec
import pytest

from flywheel.cli.own_scores import health_text
from flywheel.cli.show import show_run
from flywheel.config import ConnectionsConfig
from flywheel.findings.analysis import Analysis
from flywheel.judging.health import health_document
from flywheel.report.analysis_tables import judge_health_rows
from flywheel.report.bounded import bounded
from flywheel.report.html.page import report_html
from flywheel.results import RunResult
from tests.unit.report.full_run import full_evidence, full_run

HEALTH = (
    "judge-7b",
    "small",
    "icl-eval",
    "similarity",
    "40",  # judged
    "2 (5.0 %)",  # parse failures
    "1 (2.5 %)",  # no answer
    "90.0 % (n = 37)",  # agreement with what a program knows
    "15.0 % (n = 20)",  # position probe
    "−0.31",  # length correlation
    "0.62 (n = 12)",  # kappa
    "0.553 [0.41, 0.68]",  # corrected
    "38,400, 1,210",  # tokens in and out
    "0.27",  # their cost
    "judge and candidate are of one family",
)


def judged_run() -> RunResult:
    """The judge alone, so that no other table says the same."""
    run = full_run()
    (health,) = run.analysis.judge_health if run.analysis else ()
    health = msgspec.structs.replace(health, judge="judge-7b")
    return msgspec.structs.replace(run, candidates=[], analysis=Analysis(judge_health=[health]))


def test_the_report_and_the_artifact_and_the_terminal_tell_all_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = judged_run()
    page = report_html(run, full_evidence()).decode()
    section = page[page.index('<h2 id="judges">') : page.index('<h2 id="decision">')]
    artifact = json.dumps(bounded(judge_health_rows(run), "", empty="none"), ensure_ascii=False)
    artifact = artifact.replace("\u2060", "")
    show_run(run, ConnectionsConfig(), as_json=False, most_divergent=0)
    terminal = capsys.readouterr().out
    for part in HEALTH:
        assert part in section
        assert part in artifact
        assert part in terminal


def test_scoring_a_file_of_verdicts_tells_all_that_the_file_shows() -> None:
    run = judged_run()
    (health,) = health_document(run.analysis.judge_health if run.analysis else ())
    shown = health_text(health)
    for part in (
        "similarity: judged 40",
        "parse failures 2",
        "no answer 1",
        "agrees with programs on 90.0% of 37",
        "changes with the order in 15.0% of 20",
        "length correlation -0.31",
        "kappa with people 0.620, n = 12",
        "corrected score 0.553 [0.410, 0.680]",
    ):
        assert part in shown


def test_a_health_without_ratings_by_people_has_no_columns_for_them() -> None:
    run = judged_run()
    assert run.analysis is not None
    (health,) = run.analysis.judge_health
    bare = msgspec.structs.replace(health, kappa=None, kappa_n=0, corrected=None, corrected_interval=None)
    run = msgspec.structs.replace(run, analysis=Analysis(judge_health=[bare]))
    (row,) = judge_health_rows(run)
    assert row["flips when swapped"] == "15.0 % (n = 20)"
    assert not {"Cohen's κ with people", "corrected score"} & row.keys()

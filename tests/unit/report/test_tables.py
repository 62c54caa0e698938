"""Tables say what the results say: finite numbers, n and unscored beside each score, failures in sight."""

from __future__ import annotations

import json

from flywheel.naming import slug_of
from flywheel.report.contradicted import CONTRADICTED_TITLE
from flywheel.report.divergent import divergent_rows
from flywheel.report.drift import DRIFT_TITLE
from flywheel.report.history import history_document, history_rows
from flywheel.report.next_steps import next_steps
from flywheel.report.refusals import REFUSALS_TITLE, funnel_with_reasons
from flywheel.report.summary import best_evaluation, headline
from flywheel.report.summary_page import summary_markdown
from flywheel.report.tables import all_scores_rows, funnel_rows, results_document, results_rows, score_text
from flywheel.report.usage import FIRST_TOKEN, usage_rows
from flywheel.results import CandidateResult, Evaluation, Interval, RunResult, Score, Usage
from tests.unit.report.full_run import divergent, full_run


def evaluation(eval_type: str, value: float | None, error: str | None = None) -> Evaluation:
    score = Score(value, 40 if value is not None else 0, 2, Interval(0.5, 0.9) if value is not None else None)
    return Evaluation(
        eval_type=eval_type,  # type: ignore[arg-type]
        model="m",
        primary=None if error else "exact",
        scores={} if error else {"exact": score},
        items=42,
        usage=Usage(answered=40, tokens_in=4000, tokens_out=400, latency_ms_p50=1500.0),
        error=error,
    )


def run_of(*candidates: CandidateResult) -> RunResult:
    return RunResult(
        run_id="r1",
        workload_id="<b>w</b>|x",
        client_id="c",
        status="partial",
        started_at="2026-01-02T03:04:05+00:00",
        message="m",
        funnel={"lines": 10, "read": 8, "train": 8},
        candidates=list(candidates),
    )


GOOD = CandidateResult(
    "good", "m", "completed", [evaluation("customized-eval", 0.8), evaluation("base-eval", 0.2)]
)
BROKEN = CandidateResult(
    "broken", "m", "failed", [evaluation("base-eval", None, "no such model")], error="no such model"
)
DEAD = CandidateResult("dead", "m", "failed", error="image not found")


def test_every_evaluation_has_a_row_with_n_interval_and_unscored() -> None:
    rows = results_rows(run_of(GOOD))
    assert [row["evaluation"] for row in rows] == ["base-eval", "customized-eval"]
    assert rows[1]["score"] == "0.800 [0.50, 0.90]"
    assert (rows[1]["n"], rows[1]["unscored"]) == (40, 2)
    assert (rows[1]["tokens in"], rows[1]["tokens out"], rows[1]["latency p50"]) == (100, 10, "1.5 s")


def test_a_failed_evaluation_shows_its_reason_and_no_score() -> None:
    (row,) = results_rows(run_of(BROKEN))
    assert (row["score"], row["n"], row["unscored"]) == ("–", 0, 42)
    assert row["note"] == "no such model"


def test_a_candidate_without_evaluations_is_still_in_the_table() -> None:
    (row,) = results_rows(run_of(DEAD))
    assert (row["evaluation"], row["note"]) == ("failed", "image not found")


def test_an_unscored_metric_is_a_dash_not_a_zero() -> None:
    assert score_text(Score(None, 0, 5)) == "–"
    assert score_text(None) == "–"


def test_the_document_for_programs_has_the_fixed_keys_and_is_json() -> None:
    (candidate,) = json.loads(json.dumps(results_document(run_of(GOOD)), allow_nan=False))
    assert {"model_name", "candidate", "evaluations"} <= set(candidate)
    fixed = {
        "eval_type",
        "scores",
        "n",
        "intervals",
        "progress",
        "started_at",
        "finished_at",
        "runtime_seconds",
        "error",
    }
    for entry in candidate["evaluations"]:
        assert fixed <= set(entry)
        assert entry["scores"].keys() == entry["n"].keys() == entry["intervals"].keys()


def test_the_summary_and_the_document_tell_what_a_lead_follows_and_how_far_the_judge_goes() -> None:
    run = full_run()
    page = summary_markdown(run)
    for figure in (
        "cost of 1,000 tokens before",
        "share of traffic with a workload id",
        "98\\.0 %",
        "2\\.0 hours",
        "46\\.5 %",
        "too few items",
        "2\\.4 of 3\\.5",
        "nothing is routed",
    ):
        assert figure in page
    small, broken = results_document(run)[:2]
    assert (small["customization"]["job"], small["customization"]["adapter"]) == ("j", "/jobs/j/adapter")
    assert broken["customization"] is None
    by_answers, by_length = small["conclusions"]["cascades"]
    assert (by_answers["chosen"]["share"], len(by_length["points"])) == (0.465, 10)
    assert small["conclusions"]["trajectories"][0]["first_divergence"] == [3, 0, 2]
    (health,) = small["conclusions"]["judge_health"]
    assert (health["kappa"], health["no_answer"]) == (0.62, 1)
    (comparison,) = small["conclusions"]["comparisons"]
    assert (comparison["second"], comparison["difference"]["value"]) == ("small base-eval", 0.6)
    assert small["conclusions"]["ceilings"][0]["source"] == "teacher_noise"
    assert results_document(run)[1]["conclusions"]["comparisons"] == []


def test_the_summary_leads_to_the_single_item_in_two_steps() -> None:
    page = summary_markdown(run_of(GOOD))
    assert f"`divergent-{slug_of('<b>w</b>|x', 'c')}`" in page
    assert "`flywheel divergent r1 --item ITEM`" in page
    (row,) = divergent_rows([("good", "base-eval", divergent("i7", "wrong tool", 5.0))], most=9)
    assert row["item"] == "i7"


def test_the_headline_names_what_failed_and_the_best_score() -> None:
    line = headline([GOOD, DEAD])
    assert "1 of 2 candidates completed" in line
    assert "failed: dead (image not found)" in line
    assert "best: good customized-eval exact 0.800" in line


def test_the_best_evaluation_ignores_unscored_ones() -> None:
    assert best_evaluation([BROKEN, DEAD]) is None
    found = best_evaluation([BROKEN, GOOD])
    assert found is not None
    assert found[1].eval_type == "customized-eval"


def test_the_summary_escapes_text_from_the_log() -> None:
    page = summary_markdown(run_of(GOOD))
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_all_scores_and_funnel_have_a_row_each() -> None:
    assert len(all_scores_rows(run_of(GOOD))) == 2
    assert {"step": "read", "records": 8} in funnel_rows(run_of(GOOD).funnel)


def test_why_records_were_refused_stands_in_the_funnel_and_the_summary() -> None:
    steps = [(row["step"], row["records"]) for row in funnel_with_reasons(full_run())]
    assert steps[1:5] == [
        ("read", 380),
        ("invalid", 10),
        ("of the invalid, empty_answer: no choice has content or tool calls", 7),
        ("of the invalid, duplicate_id: a newer record has the same id and other content", 3),
    ]
    assert REFUSALS_TITLE in summary_markdown(full_run())
    assert funnel_with_reasons(run_of(GOOD)) == funnel_rows(run_of(GOOD).funnel)


def test_a_stale_set_and_contradicted_items_are_in_the_summary_the_steps_and_the_document() -> None:
    page = summary_markdown(full_run())
    for words in (DRIFT_TITLE, "31\\.0 %", CONTRADICTED_TITLE, "0\\.865", "when\\_stale"):
        assert words in page, words
    assert any("--set history_config.renew_when_stale=true" in step.text for step in next_steps(full_run()))
    conclusions = results_document(full_run())[0]["conclusions"]
    assert conclusions["drift"]["stale_because"] == ["answers"]
    assert [one["without"] for one in conclusions["contradicted"]] == [0.865]
    assert not any("stale" in step.text for step in next_steps(run_of(GOOD)))


def test_how_answers_came_is_in_a_table_the_summary_and_the_document() -> None:
    (first, *_) = usage_rows(full_run())
    assert (first["answers"], first["errors"]) == (42, 1)
    assert first["latency"] == "300 ms / 900 ms"
    assert first[FIRST_TOKEN] == "40 ms / 1.2 s"
    assert (first["tokens in"], first["tokens out"]) == ("100 / 130", "–")
    assert "40 ms / 1\\.2 s" in summary_markdown(full_run())
    usage = results_document(full_run())[0]["evaluations"][0]["usage"]
    assert (usage["ttft_ms_p95"], usage["finish_reasons"]["stop"]) == (1200, 40)
    (unstreamed, *_) = usage_rows(run_of(GOOD))
    assert FIRST_TOKEN not in unstreamed


def test_history_shows_the_best_score_of_each_run_and_survives_runs_without_any() -> None:
    rows = history_rows([run_of(GOOD), run_of(DEAD)])
    assert "good customized-eval 0.800" in rows[0]["best"]
    assert rows[1]["best"] == "–"
    assert json.loads(json.dumps(history_document([run_of(DEAD)])))[0]["run_id"] == "r1"

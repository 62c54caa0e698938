"""Runs in a home as commands find them there, with their datasets and predictions."""

from __future__ import annotations

from pathlib import Path

import msgspec

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.history.sqlite_run_store import SqliteRunStore
from flywheel.evaluation.aggregate import aggregate, score_predictions, scores_of
from flywheel.evaluation.eval_set import eval_set_of
from flywheel.evaluation.predictions import write_predictions
from flywheel.evaluation.specialist import ITEMS_FILE, PREDICTIONS_FILE
from flywheel.findings.analysis import Analysis, Difference, Verdict
from flywheel.report.specialist_set import as_lines
from flywheel.results import CandidateResult, EvalItem, Prediction, RunResult
from tests.unit.evaluation.cases import calls, item, text

BERLIN, BONN = calls(("get_weather", {"city": "Berlin"})), calls(("get_weather", {"city": "Bonn"}))
ITEMS = [item(BERLIN, f"i{n}") for n in range(8)] + [item(text("Hello"), "words")]


def store_run(
    home: Path, run_id: str, wrong: int, items: list[EvalItem] = ITEMS, own: dict[str, float] | None = None
) -> None:
    """A run that is wrong on its first items; `own` are scores that each answer has beside the built-in ones."""
    datasets = DirectoryDatasetStore(home / "datasets")
    with datasets.create("datasets", {"run": run_id}) as staging:
        (staging.path / "base").mkdir()
        (staging.path / "base" / "eval_data.jsonl").write_bytes(as_lines(items))
    answers = [BONN if place < wrong else one.response for place, one in enumerate(items)]
    scored = score_predictions(
        items, [Prediction(one.id, answer, 100.0) for one, answer in zip(items, answers, strict=True)]
    )
    scored = [msgspec.structs.replace(one, scores=one.scores | (own or {})) for one in scored]
    with datasets.create("predictions", {"run": run_id}) as predictions:
        write_predictions(predictions.path / "predictions.jsonl", scored)
    uri = f"{predictions.ref.uri}/predictions.jsonl"
    evaluation = aggregate(items, scored, eval_type="base-eval", model="m", predictions_uri=uri)
    verdict = Verdict("small", "base-eval", "exact", "surfaced", 0.05, Difference(0.0, 9), "as good")
    run = RunResult(
        run_id,
        "router",
        "acme",
        "completed",
        f"2026-01-0{1 + (run_id == 'second')}T00:00:00+00:00",
        datasets={"datasets": staging.ref.uri},
        candidates=[CandidateResult("small", "m", "completed", [evaluation])],
        eval_set=eval_set_of(items),
        analysis=Analysis(verdicts=[verdict]) if run_id == "second" else None,
    )
    SqliteRunStore(home / "runs.sqlite").save_run(run)


def store_judged_run(home: Path) -> None:
    """A run with items of unequal traffic, scores of a judge, and a specialist set."""
    items = [msgspec.structs.replace(one, weight=1 + (place == 8) * 7) for place, one in enumerate(ITEMS)]
    store_run(home, "judged", wrong=8, items=items)
    run = stored(home, "judged")
    (evaluation,) = run.candidates[0].evaluations
    path = Path(str(evaluation.predictions).removeprefix("file://"))
    decoder = msgspec.json.Decoder(Prediction)
    rated = [
        msgspec.structs.replace(one, scores=one.scores | {"similarity": 0.4 if one.id == "words" else None})
        for one in map(decoder.decode, path.read_bytes().splitlines())
    ]
    datasets = DirectoryDatasetStore(home / "datasets")
    with datasets.create("predictions", {"run": "judged", "rated": True}) as answers:
        write_predictions(answers.path / "predictions.jsonl", rated)
    special = score_predictions(ITEMS, [Prediction(one.id, BONN) for one in ITEMS])
    with datasets.create("specialist", {"run": "judged"}) as staging:
        (staging.path / ITEMS_FILE).write_bytes(as_lines(ITEMS))
        write_predictions(staging.path / PREDICTIONS_FILE, special)
    scores = scores_of(items, {one.id: one for one in rated})
    scores |= {f"specialist/{m}": s for m, s in scores_of(ITEMS, {one.id: one for one in special}).items()}
    evaluation = msgspec.structs.replace(
        evaluation,
        scores=scores,
        predictions=f"{answers.ref.uri}/predictions.jsonl",
        specialist=staging.ref.uri,
    )
    candidate = msgspec.structs.replace(run.candidates[0], evaluations=[evaluation])
    SqliteRunStore(home / "runs.sqlite").save_run(msgspec.structs.replace(run, candidates=[candidate]))


def stored(home: Path, run_id: str) -> RunResult:
    return SqliteRunStore(home / "runs.sqlite").load_run(run_id)

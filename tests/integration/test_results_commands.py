"""What people type after a run: report, divergent, compare, decide, loadtest, on stored files and real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.history.sqlite_run_store import SqliteRunStore
from flywheel.analysis import Analysis, Difference, Verdict
from flywheel.cli.main import main
from flywheel.evaluation.aggregate import aggregate, score_predictions, scores_of
from flywheel.evaluation.eval_set import eval_set_of
from flywheel.evaluation.files import read_items
from flywheel.evaluation.predictions import write_predictions
from flywheel.evaluation.specialist import ITEMS_FILE, PREDICTIONS_FILE
from flywheel.report.specialist_set import as_lines
from flywheel.results import CandidateResult, EvalItem, Prediction, RunResult
from tests.fakes.chat_server import ChatServer, after, completion, failure
from tests.unit.evaluation.cases import calls, item, text

BERLIN, BONN = calls(("get_weather", {"city": "Berlin"})), calls(("get_weather", {"city": "Bonn"}))
ITEMS = [item(BERLIN, f"i{n}") for n in range(8)] + [item(text("Hello"), "words")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two runs: 'first' is wrong on five of nine items, 'second' on two."""
    home = tmp_path / "home"
    monkeypatch.setenv("FLYWHEEL_HOME", str(home))
    store_run(home, "first", wrong=5)
    store_run(home, "second", wrong=2)
    return home


def store_run(home: Path, run_id: str, wrong: int, items: list[EvalItem] = ITEMS) -> None:
    datasets = DirectoryDatasetStore(home / "datasets")
    with datasets.create("datasets", {"run": run_id}) as staging:
        (staging.path / "base").mkdir()
        (staging.path / "base" / "eval_data.jsonl").write_bytes(as_lines(items))
    answers = [BONN if place < wrong else one.response for place, one in enumerate(items)]
    scored = score_predictions(
        items, [Prediction(one.id, answer, 100.0) for one, answer in zip(items, answers, strict=True)]
    )
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


@pytest.fixture
def flywheel(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_report_of_the_newest_run_is_one_file_that_is_there_whole(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    code, said, _ = flywheel("report", "--out", str(out))
    assert code == 0
    assert str(out) in said
    page = out.read_text()
    assert page.endswith("</html>")
    assert "get_weather" in page
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_report_says_what_is_gone_instead_of_failing(home: Path, flywheel: Any, tmp_path: Path) -> None:
    predictions = stored(home, "second").candidates[0].evaluations[0].predictions
    Path(str(predictions).removeprefix("file://")).unlink()
    code, out, _ = flywheel("report", "second", "--out", str(tmp_path / "r.html"), "--json")
    assert code == 0
    (missing,) = json.loads(out)["missing"]
    assert "Answers of small in its base-eval" in missing


def test_a_report_to_a_directory_is_refused_with_what_to_do(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    code, _, err = flywheel("report", "second", "--out", str(tmp_path))
    assert code == 2
    assert "--out" in err


def test_divergent_answers_are_listed_worst_first_with_the_difference_marked(
    home: Path, flywheel: Any
) -> None:
    code, out, _ = flywheel("divergent", "first")
    assert code == 0
    assert out.count("wrong arguments") == 5
    assert '"⟦Berlin⟧"' in out
    assert '"⟦Bonn⟧"' in out
    assert "5 of 5 divergent answers" in out


def test_one_item_is_shown_in_full(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("divergent", "first", "--item", "i0", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["request"] == ITEMS[0].request
    assert [answer["candidate"] for answer in document["divergent"]] == ["small"]
    code, out, _ = flywheel("divergent", "first", "--item", "i0")
    assert "response of production" in out
    code, _, err = flywheel("divergent", "first", "--item", "nope")
    assert code == 3
    assert "flywheel divergent first" in err


def test_every_score_of_a_run_comes_out_again_from_its_files(home: Path, flywheel: Any) -> None:
    store_judged_run(home)
    code, out, _ = flywheel("score", "--run", "judged", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["differing"], document["missing"]) == (0, [])
    by_metric = {score["metric"]: score for score in document["scores"]}
    assert {"function_name", "similarity", "specialist/function_name"} <= by_metric.keys()
    assert by_metric["similarity"]["from_answers"] is False
    assert by_metric["function_name_and_args_accuracy"]["again"]["by_traffic"]["value"] == pytest.approx(
        8 / 16
    )
    code, out, _ = flywheel("score", "--run", "judged")
    assert code == 0
    assert f"{len(by_metric)} of {len(by_metric)} scores come out as they were kept" in out
    assert "DIFFERS" not in out


def test_a_score_that_its_answers_do_not_give_is_named(home: Path, flywheel: Any) -> None:
    run = stored(home, "first")
    (evaluation,) = run.candidates[0].evaluations
    nicer = msgspec.structs.replace(evaluation.scores["function_name_and_args_accuracy"], value=0.99)
    scores = evaluation.scores | {"function_name_and_args_accuracy": nicer}
    changed = msgspec.structs.replace(evaluation, scores=scores)
    candidate = msgspec.structs.replace(run.candidates[0], evaluations=[changed])
    SqliteRunStore(home / "runs.sqlite").save_run(msgspec.structs.replace(run, candidates=[candidate]))
    code, out, _ = flywheel("score", "--run", "first")
    assert code == 3
    assert out.count("DIFFERS") == 1
    path = Path(str(evaluation.predictions).removeprefix("file://"))
    path.chmod(0o644)
    path.write_text(path.read_text().replace("Berlin", "Munich"))
    code, out, _ = flywheel("score", "--run", "first", "--json")
    assert code == 3
    assert "predictions.jsonl changed" in json.loads(out)["missing"][0]
    code, _, err = flywheel("score", "--run", "first", "--items", "x.jsonl")
    assert code == 2
    assert "leave out --items" in err
    code, _, err = flywheel("score", "--items", "x.jsonl")
    assert code == 2
    assert "--run" in err


def test_exported_items_are_a_set_that_score_and_later_runs_read(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    out = tmp_path / "specialist.jsonl"
    code, said, _ = flywheel("divergent", "first", "--candidate", "small", "--export", str(out))
    assert code == 0
    assert "evaluation_config.extra_items" in said
    assert {one.id for one in read_items(out)} == {"i0", "i1", "i2", "i3", "i4"}
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(
        b"".join(msgspec.json.encode({"id": f"i{n}", "response": BERLIN}) + b"\n" for n in range(5))
    )
    code, scored, _ = flywheel("score", "--items", str(out), "--predictions", str(answers), "--json")
    assert json.loads(scored)["scores"]["function_name_and_args_accuracy"]["value"] == 1.0


def test_unknown_runs_and_candidates_are_named_with_what_there_is(home: Path, flywheel: Any) -> None:
    for words, says in (
        (("divergent", "nope"), "nearest"),
        (("divergent", "first", "--candidate", "big"), "it has small"),
        (("decide", "first", "big", "--approve", "--by", "Ada"), "it has small"),
        (("loadtest", "first", "big", "--endpoint", "http://127.0.0.1:9/v1", "--rate", "1"), "it has small"),
    ):
        code, _, err = flywheel(*words)
        assert code == 3, words
        assert says in err


def test_runs_over_the_same_items_are_compared_in_pairs(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("compare", "first", "second", "--json")
    assert code == 0
    document = json.loads(out)
    (row,) = document["evaluations"]
    assert row["difference"]["n"] == 9
    assert row["difference"]["value"] == pytest.approx(3 / 9)
    assert row["difference"]["interval"]["low"] < 3 / 9 < row["difference"]["interval"]["high"]
    assert document["notes"] == ["second and first asked the same items."]
    code, out, _ = flywheel("compare", "first", "second")
    assert "+0.333" in out


def test_runs_over_different_items_are_compared_over_those_in_both_and_it_is_said(
    home: Path, flywheel: Any
) -> None:
    store_run(home, "third", wrong=1, items=[*ITEMS[4:], item(BERLIN, "new")])
    _, out, _ = flywheel("compare", "first", "third", "--json")
    document = json.loads(out)
    assert document["evaluations"][0]["difference"]["n"] == 5
    assert "different sets of items, 5 of them in both" in document["notes"][0]


def test_a_comparison_needs_two_different_runs(home: Path, flywheel: Any) -> None:
    for words in (("compare", "first"), ("compare", "first", "first")):
        code, _, err = flywheel(*words)
        assert code == 2
        assert err


def test_a_decision_is_recorded_with_who_and_shown_with_the_results(home: Path, flywheel: Any) -> None:
    before = stored(home, "second")
    code, out, _ = flywheel("decide", "second", "small", "--by", "Ada", "--done", "spot-check")
    assert code == 0
    assert "OPEN  load-test" in out
    code, out, _ = flywheel(
        "decide", "second", "small", "--approve", "--by", "Ada", "--note", "fine", "--json"
    )
    assert json.loads(out)["checklist"]["spot-check"] is True
    after_it = stored(home, "second")
    assert msgspec.structs.replace(after_it, decisions=[]) == before
    assert [d.decision for d in after_it.decisions] == ["open", "approved"]
    _, out, _ = flywheel("results", "second")
    assert "approved" in out
    assert "Ada" in out
    assert "Promotion checklist" in out


def test_approving_what_was_not_surfaced_is_recorded_and_said(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("decide", "first", "small", "--approve", "--by", "Ada")
    assert code == 0
    assert "was not surfaced" in out
    assert "Nothing was promoted or deployed." in out


def test_a_decision_without_a_decision_or_a_name_is_refused(home: Path, flywheel: Any) -> None:
    assert flywheel("decide", "first", "small", "--by", "Ada")[0] == 2
    assert flywheel("decide", "first", "small", "--approve", "--by", " ")[0] == 2
    assert flywheel("decide", "first", "small", "--done", "sopt", "--by", "Ada")[0] == 2
    assert stored(home, "first").decisions == []


@contextmanager
def chat_server(respond: Callable[[dict[str, Any], int], Any]) -> Iterator[ChatServer]:
    """A chat server in a thread of its own: the command has the loop of this one."""
    server = ChatServer(respond)
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        done.set()
        thread.join(10)


def test_a_load_test_sends_when_due_and_is_kept_with_the_run(home: Path, flywheel: Any) -> None:
    with chat_server(lambda body, number: after(0.3, completion())) as server:
        started = time.monotonic()
        code, out, err = flywheel(
            *(
                "loadtest",
                "second",
                "small",
                "--endpoint",
                server.base_url,
                "--rate",
                "40",
                "--seconds",
                "1.5",
            ),
            *("--target-p95-ms", "5000", "--json"),
        )
        assert code == 0, err
        assert time.monotonic() - started < 20
        assert server.most_under_way > 4  # open: it does not wait for answers
        assert {body["model"] for body in server.bodies} == {"m"}
    test = json.loads(out)
    assert test["sent"] == test["answered"] == len(server.bodies)
    assert 35 < test["sent"] < 90
    assert test["latency_ms_p50"] >= 300
    assert test["passed"] is True
    (kept,) = stored(home, "second").load_tests
    assert kept.sent == test["sent"]
    _, shown, _ = flywheel("results", "second")
    assert "Load tests" in shown


def test_a_load_test_that_misses_its_target_says_so_with_what_went_wrong(home: Path, flywheel: Any) -> None:
    def respond(body: dict[str, Any], number: int) -> Any:
        return failure(503, "overloaded") if number % 2 else completion()

    with chat_server(respond) as server:
        code, out, _ = flywheel(
            *("loadtest", "second", "small", "--endpoint", server.base_url, "--rate", "30", "--seconds", "1")
        )
    assert code == 4
    assert "missed" in out
    assert "overloaded" in out


def test_a_load_test_of_nobody_is_all_errors_and_not_a_crash(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel(
        *(
            "loadtest",
            "second",
            "small",
            "--endpoint",
            "http://127.0.0.1:9/v1",
            "--rate",
            "20",
            "--seconds",
            "0.5",
        ),
        "--json",
    )
    assert code == 4
    test = json.loads(out)
    assert test["errors"] == test["sent"] > 0
    assert test["latency_ms_p95"] is None


def test_a_load_test_without_a_rate_needs_a_log_that_tells_one(home: Path, flywheel: Any) -> None:
    code, _, err = flywheel("loadtest", "second", "small", "--endpoint", "http://127.0.0.1:9/v1")
    assert code == 2
    assert "--rate" in err

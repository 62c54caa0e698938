from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.cli.main import main
from tests.unit.evaluation.cases import calls, text

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "tools": TOOLS}
RIGHT = calls(("f", '{"a": 1}'))


def row(name: str, response: Any = RIGHT, **more: Any) -> dict[str, Any]:
    return {"id": name, "request": QUESTION, "response": response, "cluster": f"c{name}", "weight": 1, **more}


def answer(name: str, response: Any = RIGHT, error: str | None = None) -> dict[str, Any]:
    return {"id": name, "response": response, "latency_ms": 20.0, "error": error}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text(
        "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8"
    )
    return str(path)


def score(tmp_path: Path, items: list[Any], predictions: list[Any], *more: str) -> int:
    files = ["--items", write(tmp_path / "items.jsonl", items)]
    files += ["--predictions", write(tmp_path / "predictions.jsonl", predictions)]
    return main(["score", *files, *more])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_json_document_holds_every_score_with_its_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [row("a"), row("b"), row("c"), row("d", text("hello")), row("e")]
    lines = [answer("d"), answer("b", calls(("f", {"a": 1.0}))), answer("a"), answer("c", None, "timed out")]
    assert score(tmp_path, items, lines, "--json") == 0
    found = document(capsys)
    strict = found["scores"]["function_name_and_args_accuracy"]
    assert {k: strict[k] for k in ("n", "unscored")} == {"n": 3, "unscored": 2}
    assert strict["value"] == pytest.approx(2 / 3)
    assert strict["interval"] == {
        "low": pytest.approx(0.2077, abs=1e-4),
        "high": pytest.approx(0.9385, abs=1e-4),
        "level": 0.95,
    }
    assert found["scores"]["exact_match"] == {
        "value": 0,
        "n": 1,
        "unscored": 0,
        "interval": {"low": 0, "high": pytest.approx(0.7935, abs=1e-4), "level": 0.95},
    }
    assert (found["items"], found["missing"], found["primary"]) == (5, 1, "function_name_and_args_accuracy")
    assert found["usage"]["errors"] == 2
    assert found["usage"]["latency_ms_p50"] == 20


def test_people_get_a_table_and_are_told_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        score(tmp_path, [row("a"), row("b"), row("c")], [answer("a"), answer("c", None, "\x1b[31mtimed out")])
        == 0
    )
    out = capsys.readouterr().out
    assert "function_name_and_args_accuracy" in out
    assert "latency p50 / p95: 20 ms / 20 ms" in out
    assert "No prediction for 1 of 3 items" in out
    assert "1 x \\x1b[31mtimed out" in out
    assert "\x1b" not in out


def test_where_items_stand_for_many_calls_the_score_by_traffic_is_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [row("a", weight=8), row("b"), row("c")]
    lines = [answer("a"), answer("b", text("no")), answer("c", text("no"))]
    assert score(tmp_path, items, lines, "--json") == 0
    strict = document(capsys)["scores"]["function_name_and_args_accuracy"]
    assert strict["value"] == pytest.approx(1 / 3)
    assert strict["by_traffic"]["value"] == pytest.approx(0.8)
    low, high = (strict["by_traffic"]["interval"][end] for end in ("low", "high"))
    assert high - low > 0.8  # ten calls, and most of them are one item
    assert score(tmp_path, items, lines) == 0
    out = capsys.readouterr().out
    assert "0.333" in out
    assert "0.800" in out
    assert "by traffic: each item counts as often" in out
    assert score(tmp_path, [row("a"), row("b"), row("c")], lines) == 0
    assert "by traffic" not in capsys.readouterr().out


def test_scores_of_each_item_are_written_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scored.jsonl"
    assert score(tmp_path, [row("a"), row("b")], [answer("b")], "--out", str(out), "--json") == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    assert lines[0]["scores"]["function_name"] is None
    assert lines[1]["scores"]["function_name"] == 1


@pytest.mark.parametrize(
    ("items", "lines", "said"),
    [
        ([row("a"), "{not json"], [], "items.jsonl:2"),
        ([row("a"), row("a")], [], "items.jsonl:2: the id 'a'"),
        ([{"id": "a", "request": {}}], [], "items.jsonl:1"),
        ([], [], "no evaluation items"),
        ([row("a")], [answer("a"), answer("a")], "predictions.jsonl:2: 'a' has an earlier"),
        ([row("a")], [answer("z")], "predictions.jsonl:1: no item has the id 'z'"),
        ([row("a")], [{"response": {}}], "predictions.jsonl:1"),
        ([row("a")], [[1]], "predictions.jsonl:1"),
        ([row("a"), row("b", weight=-1)], [answer("a")], "items.jsonl:2"),
    ],
)
def test_a_bad_line_is_named_and_the_exit_code_says_that_the_data_is_wrong(
    items: list[Any], lines: list[Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path, items, lines) == 3
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_file_that_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--items", str(tmp_path / "x"), "--predictions", str(tmp_path / "y")]) == 2
    assert "is no file" in capsys.readouterr().err


def test_the_scored_lines_never_take_the_place_of_the_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scored.jsonl").symlink_to(tmp_path / "items.jsonl")
    assert score(tmp_path, [row("a")], [answer("a")], "--out", str(tmp_path / "scored.jsonl")) == 2
    assert "give it a file of its own" in capsys.readouterr().err
    assert json.loads((tmp_path / "items.jsonl").read_text()) == row("a")


@pytest.mark.parametrize("response", ["text", [1], {}, {"choices": []}])
def test_an_unusable_answer_is_unscored_with_its_reason(
    response: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path, [row("a")], [answer("a", response)], "--json") == 0
    found = document(capsys)
    assert found["scores"]["function_name"] == {"value": None, "n": 0, "unscored": 1, "interval": None}
    assert found["usage"]["errors"] == 1


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_fine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items, lines = tmp_path / "i.jsonl", tmp_path / "p.jsonl"
    items.write_bytes(b"\xef\xbb\xbf" + json.dumps(row("a")).encode() + b"\r\n\r\n")
    lines.write_bytes(json.dumps(answer("a")).encode())
    assert main(["score", "--items", str(items), "--predictions", str(lines), "--json"]) == 0
    assert document(capsys)["scores"]["function_name"]["value"] == 1


def test_rows_without_cluster_and_weight_are_independent_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{k: v for k, v in row(name).items() if k not in ("cluster", "weight")} for name in "ab"]
    assert score(tmp_path, items, [answer("a"), answer("b")], "--json") == 0
    assert document(capsys)["scores"]["function_name"]["interval"]["low"] == pytest.approx(0.342, abs=1e-3)


def test_a_main_score_that_there_is_none_of_is_refused_with_the_names_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path, [row("a")], [answer("a")], "--set", "metrics_config.primary=function_nam") == 2
    said = capsys.readouterr().err
    assert "'function_nam'" in said
    assert "name one of function_name, " in said


def test_a_level_that_is_none_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        score(tmp_path, [row("a")], [], "--level", "95")
    assert caught.value.code == 2
    assert "between 0 and 1" in capsys.readouterr().err


def test_arguments_compare_and_metrics_are_computed_as_the_settings_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text("def called(request, reference, response):\n    return 0.5\n", encoding="utf-8")
    config = tmp_path / "settings.yaml"
    config.write_text(
        "metrics_config:\n"
        "  primary: called\n"
        "  arguments: [{tool: f, argument: city, compare: text}]\n"
        f"  custom: [{{name: called, function: '{own}:called'}}]\n",
        encoding="utf-8",
    )
    items = [row("a", calls(("f", {"city": "Rome!"})))]
    lines = [answer("a", calls(("f", {"city": "rome"})))]
    assert score(tmp_path, items, lines, "--json") == 0
    assert document(capsys)["scores"]["function_name_and_args_accuracy"]["value"] == 0
    assert score(tmp_path, items, lines, "--json", "--config", str(config)) == 0
    found = document(capsys)
    assert found["scores"]["function_name_and_args_accuracy"]["value"] == 1
    assert (found["primary"], found["scores"]["called"]["value"]) == ("called", 0.5)


def test_scores_of_a_judge_are_made_again_from_its_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verdict(name: str, value: float | None) -> dict[str, Any]:
        outcome = "parse_failure" if value is None else "rated"
        return {"key": name, "id": name, "metric": "similarity", "outcome": outcome, "score": value}

    items = [row(name, text("hello")) for name in "abcd"] + [row("e")]
    lines = [answer(name, text("hi")) for name in "abcd"] + [answer("e")]
    path = write(tmp_path / "verdicts.jsonl", [verdict("a", 1.0), verdict("b", 0.25), verdict("c", None)])
    assert score(tmp_path, items, lines, "--json", "--verdicts", path) == 0
    found = document(capsys)["scores"]["similarity"]
    assert (found["value"], found["n"], found["unscored"]) == (0.625, 2, 2)
    path = write(tmp_path / "verdicts.jsonl", [verdict("z", 1.0)])
    assert score(tmp_path, items, lines, "--verdicts", path) == 3
    assert "are on no item" in capsys.readouterr().err


def test_a_metric_that_fails_is_told_and_leaves_its_items_unscored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text("def broken(*_):\n    return 1 / 0\n", encoding="utf-8")
    setting = f"metrics_config.custom=[{{name: broken, function: '{own}:broken'}}]"
    assert score(tmp_path, [row("a")], [answer("a")], "--set", setting) == 0
    assert "ZeroDivisionError" in " ".join(capsys.readouterr().out.split())
    assert score(tmp_path, [row("a")], [answer("a")], "--set", "metrics_config.custom=[{name: x}]") == 2
    assert "either a function or a command" in capsys.readouterr().err


def test_ratings_by_people_show_how_far_to_trust_a_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"i{n}" for n in range(12)]
    items = [row(name, text("hello")) for name in names]
    lines = [answer(name, text("hi")) for name in names]
    rated = [
        {"key": name, "id": name, "cluster": name, "metric": "similarity", "outcome": "rated", "rating": 10}
        for name in names
    ]
    labels = [{"key": name, "metric": "similarity", "label": 1 + 9 * (n % 2)} for n, name in enumerate(names)]
    verdicts = write(tmp_path / "verdicts.jsonl", rated)
    sheet = write(tmp_path / "labels.jsonl", labels)
    assert score(tmp_path, items, lines, "--json", "--verdicts", verdicts, "--labels", sheet) == 0
    (health,) = document(capsys)["judge_health"]
    assert (health["corrected"], health["kappa_n"], health["kappa"]) == (0.5, 12, 0.0)
    assert score(tmp_path, items, lines, "--verdicts", verdicts, "--labels", sheet) == 0
    assert "corrected score 0.500" in " ".join(capsys.readouterr().out.split())
    assert score(tmp_path, items, lines, "--labels", sheet) == 2

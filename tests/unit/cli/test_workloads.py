"""`flywheel workloads`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from flywheel.cli.main import main


def log_of(tmp_path: Path, *workloads: str | None, clients: Sequence[str | None] = ()) -> str:
    path = tmp_path / "log.jsonl"
    lines = [
        {"timestamp": 1_750_000_000 + i, "workload_id": w, "client_id": c, "request": {}, "response": {}}
        for i, (w, c) in enumerate(zip(workloads, clients or ["acme"] * len(workloads), strict=True))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_json_is_one_document_of_the_workloads_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workloads", "--logs", log_of(tmp_path, "a", "a", None, "b"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(w["workload_id"], w["client_id"], w["records"]) for w in document] == [
        ("a", "acme", 2),
        (None, "acme", 1),
        ("b", "acme", 1),
    ]
    assert document[0] == {
        "workload_id": "a",
        "client_id": "acme",
        "records": 2,
        "tools": [],
        "first": "2025-06-15T15:06:40Z",
        "last": "2025-06-15T15:06:41Z",
        "share_without_workload_id": 0.25,
        "average_latency_ms": None,
        "average_tokens_in": None,
        "average_tokens_out": None,
        "groups": [],
        "looked_at": None,
    }


def test_people_get_a_table_in_which_no_name_can_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["workloads", "--logs", log_of(tmp_path, "[red]a[/red]", "\x1b[31mb", "../../etc/passwd")]) == 0
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]a[/red]" in shown
    assert "\\x1b[31mb" in shown


def test_the_share_without_a_workload_is_said_for_each_client(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One client's untagged traffic must not be hidden by another's, nor be held against it."""
    log = log_of(tmp_path, "a", None, "a", "a", "b", None, "c", clients=["acme"] * 4 + ["shop", None, "neat"])
    assert main(["workloads", "--logs", log]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "25.0% of the records of client acme have no workload id and cannot be used." in shown
    assert "100.0% of the records of client (none) have no workload id" in shown
    assert "of client shop" not in shown
    assert main(["workloads", "--logs", log, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    shares = {(w["client_id"], w["workload_id"]): w["share_without_workload_id"] for w in document}
    assert shares == {
        ("acme", "a"): 0.25,
        ("acme", None): 0.25,
        ("shop", "b"): 0.0,
        (None, None): 1.0,
        ("neat", "c"): 0.0,
    }


def test_records_without_a_workload_id_are_put_to_the_workload_that_they_look_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(workload: str | None, client: str, system: str, *tools: str) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": "Hello"}]
        offered = [{"type": "function", "function": {"name": name}} for name in tools]
        request = {"messages": messages, "tools": offered}
        return json.dumps({"workload_id": workload, "client_id": client, "request": request, "response": {}})

    log = tmp_path / "log.jsonl"
    lines = [
        line("router", "acme", "Today is 3 May.  Route calls.", "a", "b"),
        line(None, "acme", "Today is 14 May. Route calls.", "b", "a"),  # a date, and another order
        line(None, "acme", "Today is 14 May. Route calls.", "a"),
        line(None, "acme", "Today is 14 May. Route calls.", "a"),
        line(None, "shop", "Today is 3 May. Route calls.", "a", "b"),  # of a client that has no router
    ]
    log.write_text("\n".join(lines))
    assert main(["workloads", "--logs", str(log), "--json"]) == 0
    groups = {s["client_id"]: s["groups"] for s in json.loads(capsys.readouterr().out) if s["groups"]}
    prompt = "Today is 0 May. Route calls."
    assert groups == {
        "acme": [
            {"records": 2, "system_prompt": prompt, "tools": ["a"], "workloads": []},
            {"records": 1, "system_prompt": prompt, "tools": ["a", "b"], "workloads": ["router"]},
        ],
        "shop": [{"records": 1, "system_prompt": prompt, "tools": ["a", "b"], "workloads": []}],
    }
    assert main(["workloads", "--logs", str(log)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "acme 2 a workload of its own a Today is 0 May." in shown
    assert "acme 1 router a, b Today is 0 May." in shown


@pytest.mark.parametrize("content", [None, "", "no json\n"])
def test_a_log_without_records_is_one_sentence_and_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["workloads", "--logs", str(path)]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_lines_that_are_no_records_are_counted_by_reason_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(tmp_path, "a")
    with open(log, "ab") as file:
        file.write(b"no json\n[1]\n" + b'{"workload_id": "caf\xe9"}\n')
    assert main(["workloads", "--logs", log]) == 0
    said = "3 lines are no records and are not counted: 2 not_json, 1 not_utf8."
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["workloads", "--logs", log, "--json"]) == 0
    captured = capsys.readouterr()
    assert [w["records"] for w in json.loads(captured.out)] == [1]
    assert said in captured.err


def test_a_log_of_nothing_but_damage_says_how_much_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("no json\n" * 3)
    assert main(["workloads", "--logs", str(tmp_path / "log")]) == 3
    assert "3 not_json" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--logs", "x", "--from", "elasticsearch"]])
def test_a_log_has_to_be_named_in_one_way(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workloads", *arguments]) == 2
    assert "--from elasticsearch" in capsys.readouterr().err


def test_elasticsearch_without_an_address_says_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    monkeypatch.delenv("ELASTICSEARCH_CLOUD_ID", raising=False)
    assert main(["workloads", "--from", "elasticsearch"]) == 2
    assert "ELASTICSEARCH_URL" in capsys.readouterr().err

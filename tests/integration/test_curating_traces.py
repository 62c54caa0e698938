"""The same calls as a log, as OpenTelemetry spans and in Langfuse: one and the same data comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.config import ValidationConfig
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Keep
from flywheel.sample import ROUTER_WORKLOAD, WEB_CLIENT
from flywheel.sample.generator import sample_lines
from tests.fakes.langfuse_server import PUBLIC, SECRET, LangfuseServer
from tests.integration.curating import curate, lines_of
from tests.integration.langfuse_records import hold
from tests.unit.traces.spans import as_span, document

pytestmark = pytest.mark.slow

SETTINGS = ["--eval-size", "15", "--limit", "150"]


@pytest.fixture(scope="module")
def calls() -> list[dict[str, Any]]:
    """The sample's good calls of one workload, in the form that all three can hold."""
    judge = Validator(ValidationConfig()).judge
    found = []
    for line in sample_lines():
        try:
            logged = json.loads(line)
            whose = logged["workload_id"], logged["client_id"]
            payloads = [json.dumps(logged[name]).encode() for name in ("request", "response")]
        except (ValueError, KeyError, TypeError):
            continue
        if whose == (ROUTER_WORKLOAD, WEB_CLIENT) and isinstance(judge(*payloads), Keep):
            messages = [*logged["request"]["messages"], logged["response"]["choices"][0]["message"]]
            texts = all(isinstance(message.get("content"), (str, type(None))) for message in messages)
            calls = [call["function"]["arguments"] for m in messages for call in m.get("tool_calls") or ()]
            logged["request"].pop("tool_choice", None)  # which the GenAI conventions have no attribute for
            if texts and all(isinstance(arguments, str) for arguments in calls):
                found.append({**logged, "id": f"r{len(found)}"})
    return found


@pytest.fixture(scope="module")
def langfuse(calls: list[dict[str, Any]]) -> Iterator[LangfuseServer]:
    with LangfuseServer() as server:
        hold(server, calls)
        yield server


def test_spans_and_observations_make_the_datasets_of_the_calls(
    calls: list[dict[str, Any]], langfuse: LangfuseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(calls) > 200
    log, traces = tmp_path / "log.jsonl", tmp_path / "traces.jsonl"
    log.write_text("".join(json.dumps(call) + "\n" for call in calls))
    traces.write_text("".join(json.dumps(document([as_span(call)])) + "\n" for call in calls))
    for name, value in {"PUBLIC_KEY": PUBLIC, "SECRET_KEY": SECRET, "HOST": langfuse.url}.items():
        monkeypatch.setenv(f"LANGFUSE_{name}", value)
    outs = [tmp_path / name for name in ("of-log", "of-traces", "of-langfuse")]
    ended = [
        curate(log, outs[0], *SETTINGS),
        curate(traces, outs[1], *SETTINGS),
        curate(log, outs[2], *SETTINGS, "--from", "langfuse"),
    ]
    assert [each.returncode for each in ended] == [0, 0, 0], [each.stderr for each in ended]
    for file in ("base/eval_data.jsonl", "train/training.jsonl", "train/validation.jsonl"):
        of_log, *others = [lines_of(out / file) for out in outs]
        said = [_said(row) for row in of_log]
        assert said
        assert [[_said(row) for row in rows] for rows in others] == [said, said], file


def _said(row: dict[str, Any]) -> Any:
    """What a row says of the call: the envelope of an answer and the spelling of arguments are not in every trace."""
    choices = row.get("response", {}).get("choices", [])
    answers = [choice["message"] for choice in choices]
    called = [
        (call["function"]["name"], _parsed(call["function"]["arguments"]))
        for answer in answers
        for call in answer.get("tool_calls") or ()
    ]
    messages = row.get("messages") and [_plain(message) for message in row["messages"]]
    # in Langfuse every call has a trace, which is its conversation where it is in no session
    plain = {key: value for key, value in row.items() if key not in ("response", "conversation", "timestamp")}
    return {**plain, "messages": messages}, called, [a.get("content") or "" for a in answers]


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {**call, "function": {**call["function"], "arguments": _parsed(call["function"]["arguments"])}}
        for call in message.get("tool_calls") or ()
    ]
    return {**message, "content": message.get("content") or "", "tool_calls": calls}


def _parsed(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments

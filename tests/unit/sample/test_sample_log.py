"""The sample log is the input of the demo, so what it promises is held here."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from flywheel.config import ValidationConfig
from flywheel.sample import ROUTER_WORKLOAD, WEB_CLIENT, write_sample_log
from flywheel.sample.distinct import text_of
from flywheel.sample.generator import Entry, entries, near_repeat, sample_lines
from flywheel.sample.router import TOOLS
from flywheel.sample.spoiled import OVERSIZED_BYTES, SPOILERS

REASONS = {
    "not_json",
    "not_utf8",
    "too_large",
    "missing_request",
    "missing_response",
    "missing_workload_id",
    "missing_client_id",
    "bad_timestamp",
    "no_messages",
    "bad_message",
    "bad_role",
    "no_answer",
    "empty_answer",
    "truncated_answer",
    "refused_answer",
    "errored_response",
    "tool_call_not_function",
    "arguments_not_json",
    "arguments_break_schema",
    "tool_call_id_unmatched",
}


@pytest.fixture(scope="module")
def good() -> list[Entry]:
    return entries(seed=0)


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """Every line of the log that is a JSON object."""
    found = []
    for line in sample_lines(seed=0):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def shingles(text: str) -> set[bytes]:
    data = text.encode()
    return {data[start : start + 5] for start in range(len(data) - 4)}


def jaccard(left: set[bytes], right: set[bytes]) -> float:
    return len(left & right) / len(left | right)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sample_log(tmp_path / name, seed=0)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["calls-1.jsonl", "calls-2.jsonl.gz"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_another_seed_writes_another_log() -> None:
    assert not set(sample_lines(seed=1)) & {line for line in sample_lines(seed=0) if len(line) > 200}


def test_the_files_hold_every_line_and_the_plain_one_stays_small(tmp_path: Path) -> None:
    write_sample_log(tmp_path)
    plain = (tmp_path / "calls-1.jsonl").read_bytes()
    zipped = gzip.decompress((tmp_path / "calls-2.jsonl.gz").read_bytes())
    assert (plain + zipped).splitlines() == sample_lines()
    assert len(plain) < 2_000_000
    assert 750 <= len(sample_lines()) <= 850


def test_every_reason_to_refuse_a_record_occurs() -> None:
    assert {reason for reason, _ in SPOILERS} == REASONS
    assert ValidationConfig().max_record_bytes < OVERSIZED_BYTES


def test_every_way_to_spoil_a_record_changes_it(records: list[dict[str, Any]]) -> None:
    record = next(
        r for r in records if r.get("workload_id") == ROUTER_WORKLOAD and len(r["request"]["messages"]) == 2
    )
    before = json.dumps(record)
    for reason, spoil in SPOILERS:
        assert spoil(record) != record, reason
    assert json.dumps(record) == before


def test_three_workloads_of_two_clients_with_at_least_five_tools_and_plain_answers(good: list[Entry]) -> None:
    assert {entry.call.workload_id for entry in good} == {"support-router", "order-faq", "returns-agent"}
    assert len({entry.client_id for entry in good}) == 2
    used = Counter(
        tuple(sorted({call.name for call in entry.call.reply.calls})) or ("no tool",)
        for entry in good
        if entry.call.workload_id == ROUTER_WORKLOAD and entry.client_id == WEB_CLIENT
    )
    single = {name for name, *more in used if not more}
    assert single == {"no tool"} | {tool["function"]["name"] for tool in TOOLS}
    assert min(used[(name,)] for name in single) >= 40
    assert len(used) > len(single), "some answers call two tools at once"


def test_the_router_has_enough_distinct_records_to_train_and_evaluate(good: list[Entry]) -> None:
    distinct = {
        text_of(entry.call)
        for entry in good
        if entry.kind == "base"
        and entry.call.workload_id == ROUTER_WORKLOAD
        and entry.client_id == WEB_CLIENT
    }
    assert len(distinct) >= 330


def test_no_two_base_questions_are_near_duplicates(good: list[Entry]) -> None:
    sets = [shingles(text_of(entry.call)) for entry in good if entry.kind == "base"]
    assert max(jaccard(left, right) for left, right in combinations(sets, 2)) < 0.7


def test_planted_near_repeats_differ_in_one_word_and_stay_near(good: list[Entry]) -> None:
    bases = defaultdict(list)
    for entry in good:
        if entry.kind == "base":
            words = text_of(entry.call).split(" ")
            for position in range(len(words)):
                bases[tuple(words[:position] + words[position + 1 :])].append(text_of(entry.call))
    planted = [text_of(entry.call) for entry in good if entry.kind == "near_repeat"]
    assert len(planted) == 35
    for text in planted:
        words = text.split(" ")
        closest = {
            original
            for position in range(len(words))
            for original in bases[tuple(words[:position] + words[position + 1 :])]
        }
        assert len(closest) == 1
        assert jaccard(shingles(text), shingles(closest.pop())) >= 0.8


def test_a_short_text_has_no_near_repeat() -> None:
    assert near_repeat("please track my order, thanks for the help") is None


def test_good_tool_calls_keep_to_their_tools_schema(good: list[Entry]) -> None:
    for entry in good:
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in entry.call.tools}
        for call in entry.call.reply.calls:
            jsonschema_rs.validate(schemas[call.name], call.arguments)


def test_what_a_tool_call_needs_stands_in_the_conversation(good: list[Entry]) -> None:
    # Else no model could learn it. Reasons are paraphrased on purpose.
    for entry in good:
        for call in entry.call.reply.calls:
            said = json.dumps(entry.call.messages[1:])
            assert all(value in said for name, value in call.arguments.items() if name != "reason")


def test_conversations_come_with_and_without_an_id_and_grow_turn_by_turn(
    records: list[dict[str, Any]],
) -> None:
    long = [
        r for r in records if r.get("workload_id") == "returns-agent" and len(r["request"]["messages"]) > 3
    ]
    assert {"conversation_id" in record for record in long} == {True, False}
    assert any(message["role"] == "tool" for record in long for message in record["request"]["messages"])


def test_arguments_times_and_content_come_in_several_forms(records: list[dict[str, Any]]) -> None:
    arguments, times, contents = set(), set(), set()
    for record in records:
        times.add(type(record["timestamp"]).__name__ + str(len(str(record["timestamp"]))))
        messages = (record.get("request") or {}).get("messages") or []
        for message in messages:
            if isinstance(message, dict):
                contents.add(type(message.get("content")))
                arguments |= {type(call["function"]["arguments"]) for call in message.get("tool_calls") or []}
    assert arguments == {str, dict}
    assert {str, list, type(None)} <= contents
    assert {"int10", "int13", "str24", "str25"} <= times


def test_exact_repeats_keep_the_request_and_some_get_another_answer(good: list[Entry]) -> None:
    requests = {text_of(entry.call): entry.call.reply for entry in good if entry.kind == "base"}
    repeats = [entry for entry in good if entry.kind == "repeat"]
    assert len(repeats) == 40
    assert all(requests[text_of(entry.call)] == entry.call.reply for entry in repeats)
    others = [entry for entry in good if entry.kind == "other_answer"]
    assert others
    assert all(requests[text_of(entry.call)] != entry.call.reply for entry in others)


def test_some_ids_are_used_twice_for_different_content(records: list[dict[str, Any]]) -> None:
    requests = defaultdict(set)
    for record in records:
        if "id" in record:
            requests[record["id"]].add(json.dumps(record.get("request")))
    assert max(len(found) for found in requests.values()) == 3

"""Records with anything in the place of anything: each is used or refused, and none ends the curation of the others."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

from flywheel.curation.validation.verdicts import REASONS
from tests.integration.curating import curate, lines_of, many_records, write_records

RECORDS = 800
ODD: list[Any] = [
    *(None, "", 0, -1, 1.5, True, [], {}, "x", [None], [[]], [{}], ["x"], {"a": None}, 1e308, 10**30),
    *("<b>\x1b[31m|", "\u2028\x00", {"type": "text"}, {"type": "text", "text": 5}),
]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}
CALLS = [
    {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": '{"x":"y"}'}} for n in (1, 2)
]


def whole_records() -> list[dict[str, Any]]:
    """Plain answers, parallel calls, a tool's result in the history, and the older API, in turn."""
    records = many_records(RECORDS)
    for number, record in enumerate(records):
        request, message = record["request"], record["response"]["choices"][0]["message"]
        request["messages"].insert(0, {"role": "system", "content": "Be brief."})
        if number % 4 == 1:
            request["tools"] = [{"type": "function", "function": FUNCTION}]
            message |= {"content": None, "tool_calls": CALLS}
        elif number % 4 == 2:
            called = {"role": "assistant", "content": None, "tool_calls": CALLS[:1]}
            request["messages"] += [called, {"role": "tool", "tool_call_id": "c1", "content": "z"}]
        elif number % 4 == 3:
            request |= {"functions": [FUNCTION], "function_call": "auto", "max_tokens": 9}
            message |= {"content": None, "function_call": CALLS[0]["function"]}
    return [copy.deepcopy(record) for record in records]  # each with parts of its own


def holders(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as what holds it and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *holders(value[key]))]


def spoil(record: dict[str, Any], pick: random.Random) -> None:
    """Put something odd into one place, or take away what is there."""
    holder, key = pick.choice([*holders(record["request"]), *holders(record["response"])])
    if isinstance(holder, dict) and pick.random() < 0.2:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(pick.choice(ODD))


def test_no_record_however_odd_ends_the_curation_of_the_others(tmp_path: Path) -> None:
    pick = random.Random(1)
    records = whole_records()
    for record in records:
        spoil(record, pick)
    log = write_records(tmp_path / "log.jsonl", records)

    run = curate(log, tmp_path / "out", "--eval-size", "100", "--json", workload="w", client="c")

    assert run.returncode == 0, run.stderr
    funnel = json.loads(run.stdout)["funnel"]
    refused = [row["reason"] for row in lines_of(tmp_path / "out/rejected.jsonl")]
    used = funnel["train"] + funnel["validation"] + funnel["evaluation"]
    assert used + len(refused) == RECORDS
    assert set(refused) <= REASONS.keys() | {"near_duplicate", "exact_duplicate", "duplicate_id", "leak"}
    assert len(set(refused)) > 8

"""A production log of a customer-service application, made up from a seed.

It holds what real logs hold: three workloads of two clients, exact repeats and near-repeats, conversations
with and without an id, tool-call arguments as strings and as objects, times in several forms, bad records.
"""

from __future__ import annotations

import dataclasses
import gzip
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal

from flywheel.sample import faq, returns_agent, router
from flywheel.sample.calls import Call, Json, Reply, payloads
from flywheel.sample.distinct import DistinctCalls, text_of
from flywheel.sample.spoiled import SPOILERS, encoded

WEB_CLIENT, APP_CLIENT = "acme-web", "acme-app"
FIRST_DAY = datetime(2025, 9, 1, tzinfo=UTC)
EARLIER = "2025-08-31T12:00:00Z"
"""Time of bad records: the good record of the same request is newer, so it stands for both."""
SPAN_SECONDS = 14 * 24 * 3600

APP_ROUTER_CALLS = 30
FAQ_CALLS = 120
TWO_TURN_CONVERSATIONS = 8
RETURN_CONVERSATIONS = 34
REPEATS = 40
NEAR_REPEATS = 35
OTHER_ANSWERS = 4

Kind = Literal["base", "conversation", "repeat", "near_repeat", "other_answer", "several_choices", "odd_text"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One good record before it is written: what was called, by whom, when, and why it is in the sample."""

    call: Call
    client_id: str
    seconds: float
    kind: Kind


def write_sample_log(path: Path, seed: int = 0) -> None:
    """Write the sample log into a directory: about 800 records in a plain and a gzipped JSONL file.

    The same seed writes the same bytes.
    """
    lines = sample_lines(seed)
    plain, zipped = lines[: len(lines) * 2 // 3], lines[len(lines) * 2 // 3 :]
    path.mkdir(parents=True, exist_ok=True)
    (path / "calls-1.jsonl").write_bytes(b"".join(line + b"\n" for line in plain))
    packed = gzip.compress(b"".join(line + b"\n" for line in zipped), compresslevel=6, mtime=0)
    (path / "calls-2.jsonl.gz").write_bytes(packed)


def sample_lines(seed: int = 0) -> list[bytes]:
    """The lines of the log, good and bad, in the order of the files."""
    rng = random.Random(seed)
    records = [_record(entry, rng) for entry in entries(seed)]
    identified = [record for record in _single_turns(records) if "id" in record]
    lines = [encoded(record) for record in records]
    lines += [encoded(record) for record in identified[:3]]  # lines delivered twice
    for _, spoil in SPOILERS:
        record = {**rng.choice(identified), "id": f"log-{rng.getrandbits(48):012x}", "timestamp": EARLIER}
        spoilt = spoil(record)
        lines.append(spoilt if isinstance(spoilt, bytes) else encoded(spoilt))
    lines += [
        encoded({**record, "id": identified[10]["id"]}) for record in identified[11:13]
    ]  # ids used twice
    rng.shuffle(lines)
    lines.sort(key=lambda line: len(line) > 1_000_000)  # the oversized line goes to the zipped file
    return lines


def entries(seed: int = 0) -> list[Entry]:
    """The good records of the log, base calls first."""
    rng = random.Random(seed)
    distinct = DistinctCalls()

    def moment() -> float:
        return rng.uniform(0, SPAN_SECONDS)

    found: list[Entry] = []
    for intent, count in router.INTENT_WEIGHTS.items():
        calls = distinct.take(count, partial(router.single_turn, intent, rng))
        found += [Entry(call, WEB_CLIENT, moment(), "base") for call in calls]
    base = list(found)
    intents = rng.choices(
        list(router.INTENT_WEIGHTS), list(router.INTENT_WEIGHTS.values()), k=APP_ROUTER_CALLS
    )
    for intent in intents:
        [call] = distinct.take(1, partial(router.single_turn, intent, rng))
        found.append(Entry(call, APP_CLIENT, moment(), "base"))
    found += [
        Entry(call, WEB_CLIENT, moment(), "base")
        for call in distinct.take(FAQ_CALLS, partial(faq.single_turn, rng))
    ]
    for index in range(TWO_TURN_CONVERSATIONS + RETURN_CONVERSATIONS):
        talk = router.two_turns if index < TWO_TURN_CONVERSATIONS else returns_agent.conversation
        turns = distinct.conversation(partial(talk, rng, f"conv-{index:04d}"))
        started = moment()
        found += [
            Entry(call, WEB_CLIENT, started + 20 * turn, "conversation") for turn, call in enumerate(turns)
        ]
    found += _planted(base, rng, moment)
    return found


def _planted(base: list[Entry], rng: random.Random, moment: Callable[[], float]) -> Iterator[Entry]:
    """Repeats and near-repeats of base calls, and answers and texts that are out of the ordinary."""
    for entry in rng.choices(base, k=REPEATS):
        yield dataclasses.replace(entry, seconds=moment(), kind="repeat")
    candidates = [(entry, reworded) for entry in base if (reworded := near_repeat(text_of(entry.call)))]
    for entry, reworded in rng.sample(candidates, NEAR_REPEATS):
        yield Entry(_with_text(entry.call, reworded), WEB_CLIENT, moment(), "near_repeat")
    for entry in rng.sample([entry for entry in base if entry.call.reply.calls], OTHER_ANSWERS):
        call = dataclasses.replace(entry.call, reply=Reply(text=router.ASK_FOR_ORDER))
        yield Entry(call, WEB_CLIENT, entry.seconds - 3600, "other_answer")
    for text in ODD_TEXTS:
        call = dataclasses.replace(router.single_turn("small_talk", rng), reply=Reply(text=router.SMALL_TALK))
        yield Entry(_with_text(call, text), WEB_CLIENT, moment(), "odd_text")
    for _ in range(2):
        yield Entry(router.single_turn("track", rng), WEB_CLIENT, moment(), "several_choices")


ODD_TEXTS = (
    "just saying thanks \x1b[31min red\x1b[0m and \x1b]0;a new window title\x07 with a bell, you were great",
    "| my | table |\n|---|---|\n| **bold** | [link](https://example.com) | <script>alert('hi')</script>",
    "Grüße aus Köln, danke für alles! 谢谢你们的帮助 🙏 שלום and \u202eright to left\u202c, all is well",
)
"""Texts that break a table, a terminal or a page which trusts them."""

_OTHER_WORDS = {
    "I": "we",
    "my": "our",
    "please": "kindly",
    "can": "might",
    "could": "would",
    "that": "this",
    "bought": "purchased",
    "great": "lovely",
    "the": "that",
    "with": "plus",
    "for": "to",
}


def near_repeat(text: str) -> str | None:
    """The text with one of its words changed; None where it is too short to stay a near-repeat then."""
    words = text.split(" ")
    if len(words) < 20:
        return None
    for position in range(len(words) // 2, len(words)):
        if other := _OTHER_WORDS.get(words[position]):
            return " ".join([*words[:position], other, *words[position + 1 :]])
    return None


def _with_text(call: Call, text: str) -> Call:
    return dataclasses.replace(call, messages=(*call.messages[:-1], {"role": "user", "content": text}))


def _single_turns(records: Iterable[Json]) -> list[Json]:
    """Records of the support router with nothing but a system and a user message."""
    return [
        record
        for record in records
        if record["workload_id"] == router.WORKLOAD
        and record["client_id"] == WEB_CLIENT
        and len(record["request"]["messages"]) == 2
    ]


def _record(entry: Entry, rng: random.Random) -> Json:
    """The record as a logger wrote it: fields come and go, times and arguments have several forms."""
    created = FIRST_DAY + timedelta(seconds=round(entry.seconds, 3))
    form: Literal["string", "object"] = "object" if rng.random() < 0.3 else "string"
    request, response = payloads(entry.call, rng, int(created.timestamp()), form)
    if rng.random() < 0.05 and request["messages"][-1]["role"] == "user":
        last = request["messages"][-1]
        request["messages"][-1] = {**last, "content": [{"type": "text", "text": last["content"]}]}
    if entry.kind == "several_choices":
        answer = response["choices"][0]
        response["choices"] = [answer, {**answer, "index": 1}]
    record: Json = {
        "timestamp": _time(created, rng),
        "workload_id": entry.call.workload_id,
        "client_id": entry.client_id,
        "request": request,
        "response": response,
        "latency_ms": round(rng.lognormvariate(7, 0.35), 1),
        "tokens_in": response["usage"]["prompt_tokens"],
        "tokens_out": response["usage"]["completion_tokens"],
    }
    if rng.random() < 0.8:
        record["id"] = f"log-{rng.getrandbits(48):012x}"
    if entry.call.conversation and int(entry.call.conversation[-1]) % 2:
        record["conversation_id"] = entry.call.conversation
    if rng.random() < 0.1:
        record["description"] = "Acme customer service"
    if rng.random() < 0.1:
        record["trace"] = {
            "region": rng.choice(("eu-north", "eu-west")),
            "span": f"{rng.getrandbits(32):08x}",
        }
    return record


def _time(moment: datetime, rng: random.Random) -> Any:
    """Epoch seconds, epoch milliseconds, or ISO 8601 in UTC or another zone."""
    match rng.randrange(4):
        case 0:
            return int(moment.timestamp())
        case 1:
            return int(moment.timestamp() * 1000)
        case 2:
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case _:
            return moment.astimezone(timezone(timedelta(hours=2))).isoformat(timespec="seconds")

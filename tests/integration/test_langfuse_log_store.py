"""Logs in Langfuse: the contract over a socket, and what a log that grows, a busy server and wrong keys do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest

from blocks.langfuse.api import LangfuseApi
from blocks.langfuse.settings import LangfuseSettings
from blocks.langfuse.store import LangfuseLogStore
from blocks.langfuse.windows import MOST_PAGES, Windows
from flywheel.errors import DataError, EndpointRefused, TransientRemoteError
from flywheel.progress import silent
from flywheel.traces.calls import Labels
from tests.contracts.log_store import BEGIN, LogStoreContract, StoreOf, ids, read, record, rows, total
from tests.fakes.langfuse_server import PUBLIC, SECRET, LangfuseServer
from tests.integration.langfuse_records import hold, observed


@pytest.fixture
def server() -> Iterator[LangfuseServer]:
    with LangfuseServer() as server:
        yield server


def settings_of(server: LangfuseServer, **changed: Any) -> LangfuseSettings:
    return LangfuseSettings(PUBLIC, SECRET, server.url, **{"first_pause": 0.01, "attempts": 3} | changed)


def store(server: LangfuseServer, **changed: Any) -> LangfuseLogStore:
    return LangfuseLogStore(settings_of(server, **changed))


class TestLangfuse(LogStoreContract):
    @pytest.fixture
    def store_of(self, server: LangfuseServer) -> StoreOf:
        def make(records: Sequence[Any]) -> LangfuseLogStore:
            hold(server, records)
            return store(server)

        return make


def test_tags_names_sessions_and_metadata_tell_whose_a_call_is(server: LangfuseServer) -> None:
    hold(server, [record(i, workload_id=..., client_id=...) for i in range(3)])
    server.traces[0] |= {"name": "refunds", "tags": ["vip", "client: shop"], "sessionId": "talk"}
    server.traces[1] |= {"name": "refunds"}
    server.observations[1] |= {"environment": "production"}
    server.observations[2]["metadata"] = {
        "attributes": {"app.route": "faq"},
        "resourceAttributes": {"service.name": "s"},
    }
    usual = {(w.workload_id, w.client_id) for w in store(server).workloads(silent)}
    assert usual == {("refunds", "shop"), ("refunds", "production"), (None, "s")}
    named = LangfuseLogStore(
        settings_of(server), labels=Labels(("app.route", "trace.name"), ("tag:client", "name"))
    )
    assert {(w.workload_id, w.client_id) for w in named.workloads(silent)} == {
        ("refunds", "shop"),
        ("refunds", None),
        ("faq", None),
    }
    (row,) = rows(read(store(server), workload_id="refunds", client_id="shop"))
    assert (row["conversation_id"], row["file"], row["line"]) == ("talk", "langfuse/r0", None)


def test_a_log_of_many_pages_is_read_once_whole_and_in_order(server: LangfuseServer) -> None:
    """Uneven traffic: half of it within one second, some at the very same moment, and one long before."""
    moments = random.Random(1)
    times = [BEGIN - 10**8, *[BEGIN + 0.5] * 70, *[BEGIN + moments.random() for _ in range(200)]]
    times += [BEGIN + moments.random() * 10**6 for _ in range(129)]
    hold(server, [record(i, timestamp=round(time, 3)) for i, time in enumerate(times)])
    batches = read(store(server, page_size=5))
    found = [row["id"] for row in rows(batches)]
    assert sorted(found) == sorted(row["id"] for row in server.observations)
    by_time = sorted(server.observations, key=lambda row: (row["startTime"], row["id"]))
    assert found == [row["id"] for row in by_time]
    pages = [int(sent["page"]) for path, sent in server.requests if path.endswith("/observations")]
    # A moment cannot be cut: its 70 records take 14 pages or more, where the log has 80.
    read_on = [page for before, page in pairwise(pages) if page == before + 1]
    assert MOST_PAGES < max(read_on) < 20
    assert len(pages) < 3 * len(times) / 5


def test_what_is_written_while_it_is_read_brings_neither_gaps_nor_repeats(server: LangfuseServer) -> None:
    """Late observations move every page of an earlier time; so do those that are deleted; what begins later waits."""
    hold(server, [record(i) for i in range(400)])
    kept = [row["id"] for row in server.observations]
    numbers = count(10_000)
    removed: list[str] = []

    def meanwhile(path: str, sent: Mapping[str, str]) -> None:
        number = next(numbers)
        if path.endswith("/observations") and sent.get("page") in ("2", "3") and len(removed) < 8:
            late = [
                observed(record(number), number),
                observed(record(number * 2, timestamp=BEGIN + 200.5), number),
            ]
            server.observations += [row for row, _ in late]
            removed.append(server.observations.pop(150)["id"])

    server.before = meanwhile
    now = datetime.fromtimestamp(BEGIN + 400, UTC)
    reading = LangfuseLogStore(settings_of(server, page_size=10), now=lambda: now)
    found = ids(read(reading))
    assert removed
    assert len(found) == len(set(found))
    assert set(kept) - set(removed) <= set(found)
    assert all(int(name[1:]) < 20_000 or int(name[1:]) % 2 == 0 for name in found)
    assert not {f"r{number}" for number in range(10_000, next(numbers))} & set(found), (
        "they begin after the end"
    )


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server: LangfuseServer) -> None:
    hold(server, [record(0)])
    server.failures = [(429, {"Retry-After": "7"}), (502, {})]
    waited: list[float] = []
    with LangfuseApi(settings_of(server), waited.append) as api:
        assert Windows(api).count(datetime.now(UTC)) == 1
    assert waited[0] == 7
    assert 0 < waited[1] < 1


def test_a_server_that_stays_away_is_given_up_with_what_it_said(server: LangfuseServer) -> None:
    server.failures = [(503, {})] * 3
    with pytest.raises(TransientRemoteError, match=r"503 .* after 3 attempts") as raised:
        read(store(server))
    assert raised.value.attempts == 3
    gone = LangfuseSettings(PUBLIC, SECRET, "http://127.0.0.1:1", attempts=1)
    with pytest.raises(TransientRemoteError, match="cannot be reached"):
        read(LangfuseLogStore(gone))


def test_answers_that_are_too_large_for_the_server_are_asked_for_in_smaller_pages(
    server: LangfuseServer,
) -> None:
    hold(
        server,
        [record(i, request={"messages": [{"role": "user", "content": "x" * 2_000}]}) for i in range(40)],
    )
    server.most_bytes = 20_000
    batches = read(store(server, attempts=1, page_size=40))
    assert len(ids(batches)) == 40


def test_wrong_keys_another_service_and_a_missing_trace(server: LangfuseServer) -> None:
    with pytest.raises(EndpointRefused, match="LANGFUSE_SECRET_KEY") as raised:
        read(LangfuseLogStore(LangfuseSettings(PUBLIC, "sk-wrong", server.url)))
    assert "sk-wrong" not in str(raised.value)
    assert "sk-wrong" not in repr(LangfuseLogStore(LangfuseSettings(PUBLIC, "sk-wrong", server.url)))
    with pytest.raises(EndpointRefused, match="check the address"):
        read(LangfuseLogStore(LangfuseSettings(PUBLIC, SECRET, server.url + "/elsewhere")))
    hold(server, [record(0)])
    server.traces = []
    (row,) = rows(read(store(server)))
    assert row["conversation_id"] == "t0"


def test_traces_are_looked_up_by_the_hundred_and_each_once(server: LangfuseServer) -> None:
    hold(server, [record(i, conversation_id=f"c{i // 2}") for i in range(150)])
    found = rows(read(store(server)))
    assert {row["id"]: row["conversation_id"] for row in found} == {f"r{i}": f"c{i // 2}" for i in range(150)}
    assert sum("/traces" in path for path, _ in server.requests) <= 2


def test_a_window_asks_the_server_for_no_more_than_that(server: LangfuseServer) -> None:
    hold(server, [record(i) for i in range(30)])
    since = datetime.fromtimestamp(BEGIN + 20, UTC) + timedelta(microseconds=500)
    batches = read(store(server), since=since, until=datetime.fromtimestamp(BEGIN + 25, UTC))
    assert (ids(batches), total(batches)) == (["r21", "r22", "r23", "r24"], 30)
    asked = [sent.get("fromStartTime") for path, sent in server.requests if path.endswith("/observations")]
    assert asked == [None, "2025-06-15T15:07:00.000Z"]


def test_an_observation_that_is_too_large_or_no_chat_is_refused_by_itself(server: LangfuseServer) -> None:
    long = {"messages": [{"role": "user", "content": "x" * 5_000}]}
    hold(server, [record(0), record(1, request=long), record(2), record(3, client_id="other")])
    for row in server.observations[2:]:
        row["input"] = {"template": "no messages"}
    limited = LangfuseLogStore(settings_of(server), max_record_bytes=2_000)
    batches = read(limited)
    assert [(r.file, r.reason) for batch in batches for r in batch.refused] == [
        ("langfuse/r1", "too_large"),
        ("langfuse/r2", "unmappable_call"),
    ]
    assert (ids(batches), total(batches)) == (["r0"], 4)
    limited.workloads(silent)
    assert limited.unreadable == {"too_large": 1, "unmappable_call": 2}


def test_an_empty_project_is_told_from_an_empty_window(server: LangfuseServer) -> None:
    with pytest.raises(DataError, match="no generations"):
        read(store(server))
    hold(server, [record(0)])
    later = read(store(server), since=datetime.fromtimestamp(BEGIN + 9, UTC))
    assert (ids(later), total(later)) == ([], 1)

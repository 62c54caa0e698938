"""A log that is read while connections break, servers are busy, shards fail and the view is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from blocks.elasticsearch import transport
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.store import ElasticsearchLogStore
from blocks.ports import LogQuery
from flywheel.errors import DataError, EndpointRefused, RemoteError, TransientRemoteError
from flywheel.progress import silent
from tests.contracts.log_store import ids, rows
from tests.fakes.elasticsearch_faults import failed_shard, fewer, lost_view, reset, slow, status
from tests.fakes.elasticsearch_stub import ElasticsearchStub, Fault, elasticsearch_stub

RECORDS = 3_000


@pytest.fixture
def stub() -> Iterator[ElasticsearchStub]:
    with elasticsearch_stub(RECORDS) as stub:
        yield stub


@pytest.fixture
def settings(stub: ElasticsearchStub) -> ElasticsearchSettings:
    """Small pages, so that a reading takes many."""
    return ElasticsearchSettings(hosts=(stub.url,), page_bytes=100_000, first_pause=0.01)


def read(settings: ElasticsearchSettings, **query: Any) -> list[str]:
    store = ElasticsearchLogStore(settings)
    return [row["id"] for row in rows(list(store.read(LogQuery("router", "acme", **query), silent)))]


def everything() -> list[str]:
    return sorted(f"r{i}" for i in range(RECORDS))


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (reset, 3),
        (status(429, retry_after="0"), 6),
        (status(502), 3),
        (status(503), 6),
        (status(504), 3),
        (lost_view, 3),
        (failed_shard, 2),
    ],
    ids=["reset in mid-page", "429 storm", "502", "503", "504", "lost view", "failed shard"],
)
def test_a_fault_in_mid_read_leaves_no_gap_and_no_repeat(
    stub: ElasticsearchStub, settings: ElasticsearchSettings, fault: Fault, times: int
) -> None:
    stub.faults.extend([None] * 5 + [fault] * times)
    found = read(settings)
    assert sorted(found) == everything()
    assert not stub.faults
    assert len(found) == len(set(found))


def test_a_restart_of_the_server_in_mid_read_leaves_no_gap_and_no_repeat(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    """Connections break, then nobody is ready to answer, then the view of before is gone.

    One slice may meet every fault while the other waits for the processor, so a request may be tried once more.
    """
    stub.faults.extend([None] * 5 + [reset] * 4 + [status(503)] * 4 + [lost_view])
    found = read(replace(settings, attempts=9))
    assert sorted(found) == everything()
    assert not stub.faults


@pytest.mark.parametrize("sampling", ["newest", "uniform"])
def test_a_data_stream_is_read_by_its_name_and_the_origin_is_the_index_behind_it(
    stub: ElasticsearchStub, settings: ElasticsearchSettings, sampling: str
) -> None:
    stub.index = ".ds-calls-2026.01.31-000001"
    store = ElasticsearchLogStore(replace(settings, index="calls"))
    found = rows(list(store.read(LogQuery("router", "acme", limit=40, sampling=sampling), silent)))
    assert len(found) == 40
    assert {row["file"].rpartition("/")[0] for row in found} == {stub.index}


def test_the_newest_are_read_through_a_lost_view_too(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    stub.faults.extend([None, lost_view, None, lost_view])
    assert sorted(read(settings, limit=1_200)) == sorted(f"r{i}" for i in range(RECORDS - 1_200, RECORDS))
    assert not stub.faults


@pytest.mark.parametrize("sampling", ["uniform", "stratified"])
def test_a_sample_is_the_same_with_and_without_faults(
    stub: ElasticsearchStub, settings: ElasticsearchSettings, sampling: str
) -> None:
    calm = read(settings, limit=700, sampling=sampling)
    stub.faults.extend([None, lost_view, None, reset, status(503), None, None, lost_view])
    assert read(settings, limit=700, sampling=sampling) == calm
    assert len(set(calm)) == 700


def test_records_come_in_the_same_order_whichever_slice_is_slow(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    calm = read(settings)
    stub.faults.extend([slow(0.2), None, None, slow(0.1)])
    assert read(settings) == calm


def test_after_a_lost_view_the_reading_goes_on_where_it_stood(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    read(settings)
    undisturbed = stub.searches
    stub.searches = 0
    stub.faults.extend([None] * (undisturbed - 6) + [lost_view])
    read(settings)
    assert stub.searches <= undisturbed + 4


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (status(503), TransientRemoteError, "503"),
        (status(429), TransientRemoteError, "429"),
        (reset, TransientRemoteError, "cannot be reached"),
        (failed_shard, TransientRemoteError, "shard"),
        (lost_view, TransientRemoteError, "point in time was lost"),
        (fewer, TransientRemoteError, "brought"),
        (status(401), EndpointRefused, "ELASTICSEARCH_API_KEY"),
        (status(403), EndpointRefused, "privileges"),
        (status(400), RemoteError, "refused"),
    ],
)
def test_a_fault_that_does_not_pass_is_one_clear_error_and_never_less_data(
    stub: ElasticsearchStub, settings: ElasticsearchSettings, fault: Fault, error: type[Exception], said: str
) -> None:
    stub.faults.extend([None] * 3 + [fault] * 100)
    with pytest.raises(error) as raised:
        read(replace(settings, attempts=3))
    assert said in str(raised.value)
    assert len(stub.faults) > 80, "the number of attempts is bounded"


def test_a_slow_shard_is_waited_for_as_long_as_the_time_out_says(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    stub.faults.extend([slow(0.6), slow(0.6)])
    assert sorted(read(replace(settings, timeout_seconds=0.3, attempts=30))) == everything()
    assert stub.searches > 2


def test_a_server_that_is_not_there_is_named() -> None:
    settings = ElasticsearchSettings(hosts=("http://127.0.0.1:9",), attempts=2, first_pause=0.01)
    with pytest.raises(TransientRemoteError, match=r"127\.0\.0\.1:9 cannot be reached after 2 attempts"):
        read(settings)


def test_ending_the_reading_early_ends_its_requests(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    stub.faults.extend([None, None, status(503, retry_after="30"), status(503, retry_after="30")])
    batches = ElasticsearchLogStore(settings).read(LogQuery("router", "acme"), silent)
    next(batches)
    begin = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 25, "nobody slept through the pause that the server asked for"


def test_seconds_read_as_milliseconds_are_an_error_with_the_command_that_mends_it(
    stub: ElasticsearchStub, settings: ElasticsearchSettings
) -> None:
    stub.mappings = {
        "properties": {
            "workload_id": {"type": "keyword"},
            "client_id": {"type": "keyword"},
            "timestamp": {"type": "date"},
        }
    }
    stub.counts = {"well_dated": 0, "in_1970": RECORDS}
    with pytest.raises(DataError, match=r"seconds as milliseconds.*python -m blocks\.elasticsearch\.mend"):
        read(settings)
    stub.counts = {"well_dated": RECORDS - 10, "in_1970": 10}
    assert sorted(read(settings)) == everything()


def test_pauses_grow_honour_what_the_server_asks_and_are_bounded() -> None:
    patient = transport.PatientTransport([_node()])
    for attempt, longest in ((1, 0.5), (2, 1.0), (5, 8.0), (30, transport.LONGEST_PAUSE)):
        assert longest / 2 <= patient.pause(attempt, None) <= longest
    assert patient.pause(1, 7.0) == 7.0
    assert patient.pause(1, 10_000.0) == transport.LONGEST_PAUSE
    least = sum(min(0.5 * 2**i, transport.LONGEST_PAUSE) / 2 for i in range(7))
    assert least > 10, "a server that is away for ten seconds is waited for"


def _node() -> Any:
    from elastic_transport import NodeConfig

    return NodeConfig("http", "127.0.0.1", 9)


def test_memory_is_bounded_by_pages_and_the_batches_by_page_bytes(settings: ElasticsearchSettings) -> None:
    store = ElasticsearchLogStore(replace(settings, page_bytes=50_000))
    batches = list(store.read(LogQuery("router", "acme"), silent))
    assert ids(batches) == everything()
    assert max(batch.records.nbytes for batch in batches[6:]) < 100_000

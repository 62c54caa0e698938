"""MongoDB that is down, goes away, loses answers, says nothing, refuses: nothing is lost, every wait is bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from pymongo.uri_parser import parse_uri

from blocks.mongo.connection import MongoConnection
from blocks.mongo.run_store import MongoRunStore
from flywheel.errors import ConfigError, EndpointRefused, TransientRemoteError
from flywheel.results import CandidateResult, RunResult
from tests.contracts.run_store.cases import entry, run
from tests.fakes.mongo_server import mongo_server_with_a_user
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy

PATIENCE = 60.0
IMPATIENCE = 2.0
BOUND = 25
"""Seconds, with which the driver's own patience of 30 is told from ours even on a busy machine."""


@pytest.fixture
def proxy(mongo: MongoConnection) -> Iterator[TcpProxy]:
    host, port = parse_uri(mongo.url)["nodelist"][0]
    with tcp_proxy(host, port) as proxy:
        yield proxy


@pytest.fixture
def store(mongo: MongoConnection, proxy: TcpProxy) -> Iterator[MongoRunStore]:
    """The store behind the proxy, of one who waits."""
    yield from behind(proxy, mongo.database, PATIENCE)


@pytest.fixture
def impatient(mongo: MongoConnection, proxy: TcpProxy) -> Iterator[MongoRunStore]:
    """The same of one who gives up soon."""
    yield from behind(proxy, mongo.database, IMPATIENCE)


def behind(proxy: TcpProxy, database: str, patience: float) -> Iterator[MongoRunStore]:
    url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    store = MongoRunStore(MongoConnection(url, database=database, patience_seconds=patience))
    yield store
    store.close()


@pytest.fixture
def beside(mongo: MongoConnection) -> Iterator[MongoRunStore]:
    """The same store, past the proxy."""
    store = MongoRunStore(mongo)
    yield store
    store.close()


def test_a_server_that_is_down_at_the_start_is_a_clear_error_within_the_patience() -> None:
    with tcp_proxy("127.0.0.1", 9) as closed:
        port = closed.port
    store = MongoRunStore(
        MongoConnection(f"mongodb://user:secret@127.0.0.1:{port}", patience_seconds=IMPATIENCE)
    )
    started = time.monotonic()
    with pytest.raises(TransientRemoteError, match=rf"127\.0\.0\.1:{port}.*MONGODB_URL") as caught:
        store.list_runs()
    assert time.monotonic() - started < BOUND
    assert "secret" not in str(caught.value)
    store.close()


def test_a_server_that_takes_connections_and_says_nothing_is_given_up_within_the_patience(
    impatient: MongoRunStore, proxy: TcpProxy
) -> None:
    proxy.be_silent()
    started = time.monotonic()
    with pytest.raises(TransientRemoteError):
        impatient.load_run("run-1")
    assert time.monotonic() - started < BOUND


def test_a_server_that_goes_away_in_mid_run_and_comes_back_is_waited_for(
    store: MongoRunStore, beside: MongoRunStore, proxy: TcpProxy
) -> None:
    store.save_run(run(candidates=[]))
    proxy.down()
    coming_back = threading.Timer(1.2, proxy.up)
    coming_back.start()
    result = CandidateResult("small", "small", "completed")
    store.update_run("run-1", lambda found: msgspec.structs.replace(found, candidates=[result]))
    coming_back.join()
    proxy.reset()
    store.record_resource(entry())
    assert beside.load_run("run-1") == run(candidates=[result])
    assert beside.allocated() == [entry()]


def test_what_was_saved_before_a_server_went_away_for_good_is_there_for_the_next_run(
    store: MongoRunStore, impatient: MongoRunStore, beside: MongoRunStore, proxy: TcpProxy
) -> None:
    store.save_run(run(status="running"))
    store.record_resource(entry())
    proxy.down()
    with pytest.raises(TransientRemoteError, match="what was saved stays"):
        impatient.save_run(run(status="completed"))
    assert beside.load_run("run-1") == run(status="running")
    assert beside.allocated() == [entry()]


@pytest.mark.parametrize("question", [b"findAndModify\x00", b"update\x00"])
def test_a_write_whose_answer_is_lost_three_times_is_made_once(
    store: MongoRunStore, beside: MongoRunStore, proxy: TcpProxy, question: bytes
) -> None:
    store.save_run(run("run-1"))
    proxy.lose_answers(question, times=3)
    store.save_run(run("run-1", message="second"))
    store.record_resource(entry())
    assert proxy.lost == 3
    assert beside.list_runs() == [run("run-1", message="second")]
    assert beside.allocated() == [entry()]


def test_an_update_whose_answer_is_lost_three_times_is_made_once(
    store: MongoRunStore, beside: MongoRunStore, proxy: TcpProxy
) -> None:
    store.save_run(run(message=""))
    proxy.lose_answers(b"findAndModify\x00", times=3)
    store.update_run("run-1", lambda found: msgspec.structs.replace(found, message=found.message + "!"))
    assert proxy.lost == 3
    assert beside.load_run("run-1").message == "!"


def test_writers_of_one_new_id_at_the_same_moment_all_succeed(mongo: MongoConnection) -> None:
    # Two upserts of one id can both find nothing and both insert: the server refuses one with a duplicate key.
    stores = [MongoRunStore(mongo) for _ in range(4)]
    together = threading.Barrier(len(stores))

    def write(number: int) -> None:
        for turn in range(10):
            together.wait(timeout=120)
            stores[number].record_resource(entry(f"fw-{turn}", details={"writer": number}))
            together.wait(timeout=120)
            stores[number].save_run(run(f"run-{turn}", message=f"{number}", candidates=[]))

    with ThreadPoolExecutor(len(stores)) as threads:
        list(threads.map(write, range(len(stores))))
    assert len(stores[0].allocated()) == 10
    assert len(stores[0].list_runs()) == 10
    for store in stores:
        store.close()


def test_a_reader_never_sees_half_a_run_while_others_replace_it(mongo: MongoConnection) -> None:
    writer, reader = MongoRunStore(mongo), MongoRunStore(mongo)
    versions = [
        run(message=f"{count}", candidates=[CandidateResult(f"c{n}", "m", "completed") for n in range(count)])
        for count in (0, 1, 7)
    ]
    writer.save_run(versions[0])
    stop = threading.Event()
    seen: list[RunResult] = []

    def read() -> None:
        while True:
            last = stop.is_set()
            seen.extend(reader.list_runs())
            if last:
                return

    reading = threading.Thread(target=read)
    reading.start()
    for turn in range(15):
        writer.save_run(versions[turn % 3])
    stop.set()
    reading.join(timeout=120)
    assert seen
    assert all(found in versions for found in seen)
    writer.close()
    reader.close()


def test_a_wrong_password_is_refused_at_once_and_a_right_one_works(tmp_path: Path) -> None:
    with mongo_server_with_a_user(tmp_path, "flywheel", "p@ss:w/rd%") as server:
        connection = MongoConnection(server.uri, username="flywheel", password="p@ss:w/rd%")
        right = MongoRunStore(connection)
        right.save_run(run())
        assert right.load_run("run-1") == run()
        right.close()
        for wrong in (
            msgspec.structs.replace(connection, password="guessed"),
            msgspec.structs.replace(connection, username="", password=""),
        ):
            store = MongoRunStore(wrong)
            started = time.monotonic()
            with pytest.raises(EndpointRefused, match="password") as caught:
                store.list_runs()
            assert time.monotonic() - started < BOUND
            assert "guessed" not in str(caught.value)
            store.close()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:27017",
        "postgres://localhost/x",
        "mongodb://",
        "mongodb://user:p@ss:word@host/x",
        "mongodb://host:notaport/x",
        "mongodb://host/x?tlsCAFile=/nonexistent/ca.pem&tls=true",
        "mongodb://host/x?w=-1",
    ],
)
def test_an_address_that_cannot_be_is_a_clear_error_without_its_password(url: str) -> None:
    store = MongoRunStore(MongoConnection(url, patience_seconds=1))
    with pytest.raises(ConfigError, match="mongodb://") as caught:
        store.list_runs()
    assert "word" not in str(caught.value).replace("password", "")

"""`flywheel loadtest`: a candidate under the rate of production, over a socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.chat_server import ChatServer, after, completion, failure
from tests.integration.results_commands.stored_runs import stored


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
    assert ready.wait(60)
    try:
        yield server
    finally:
        done.set()
        thread.join(60)


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
            *("--target-p95-ms", "60000", "--json"),
        )
        assert code == 0, err
        assert time.monotonic() - started < 60
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


def test_a_load_test_asks_on_whatever_it_is_told_as_users_do(home: Path, flywheel: Any) -> None:
    def respond(body: dict[str, Any], number: int) -> Any:
        if number < 15:  # more in a row than would count as down in an evaluation
            return failure(503, "overloaded")
        return failure(429, "slow down", **{"Retry-After": "600"}) if number == 15 else completion()

    words = ("loadtest", "second", "small", "--rate", "60", "--seconds", "1", "--json")
    with chat_server(respond) as server:
        started = time.monotonic()
        code, out, _ = flywheel(*words, "--endpoint", server.base_url)
    assert code == 4
    assert time.monotonic() - started < 50  # a pause that somebody makes is one of 60 s
    test = json.loads(out)
    assert (test["sent"], test["errors"]) == (len(server.bodies), 16)


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


def test_a_target_that_was_met_is_ticked_off_where_the_run_is_kept(
    home: Path, flywheel: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("FLYWHEEL_HOME")
    with chat_server(lambda body, number: completion()) as server:
        code, out, _ = flywheel(
            *(
                "loadtest",
                "second",
                "small",
                "--endpoint",
                server.base_url,
                "--rate",
                "20",
                "--seconds",
                "0.5",
            ),
            *("--set", f"connections.home={home}"),
        )
    assert code == 0
    assert f"FLYWHEEL_HOME={home} flywheel decide second small --by NAME --done load-test" in out

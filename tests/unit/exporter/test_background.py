"""The bounded queue and its thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flywheel_exporter.background import BackgroundWriter


class Taker:
    """Takes batches, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.ended = 0

    def write(self, batch: list[int]) -> None:
        assert self.open.wait(120)
        self.batches.append(batch)

    def end(self) -> None:
        self.ended += 1

    def writer(self, **settings: Any) -> BackgroundWriter[int]:
        defaults: dict[str, Any] = {
            "most_items": 1_000,
            "most_bytes": 1_000_000,
            "batch_items": 10,
            "linger_seconds": 0.01,
            "exit_seconds": 1.0,
            "after_last": self.end,
            "after_fork": lambda: None,
        }
        return BackgroundWriter(self.write, **(defaults | settings))


def test_everything_arrives_once_in_order_and_in_batches_no_larger_than_allowed() -> None:
    taker = Taker()
    writer = taker.writer()
    for number in range(95):
        assert writer.put(number, 1)
    assert writer.flush(60)
    assert [number for batch in taker.batches for number in batch] == list(range(95))
    assert max(map(len, taker.batches)) <= 10
    assert writer.close(60)


def test_what_many_threads_put_in_arrives_once() -> None:
    taker = Taker()
    writer = taker.writer(most_items=100_000)
    threads = [
        threading.Thread(target=lambda first=first: [writer.put(first + i, 1) for i in range(500)])
        for first in range(0, 4_000, 500)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(60)
    assert sorted(number for batch in taker.batches for number in batch) == list(range(4_000))


@pytest.mark.parametrize("limits", [{"most_items": 3}, {"most_bytes": 35}])
def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room(limits: dict[str, int]) -> None:
    taker = Taker()
    taker.open.clear()
    writer = taker.writer(**limits)
    started = time.monotonic()
    assert [writer.put(number, 10) for number in range(5)] == [True, True, True, False, False]
    assert time.monotonic() - started < 60  # no room comes before somebody waited for longer
    taker.open.set()
    assert writer.flush(60)
    assert writer.put(5, 10)
    assert writer.close(60)
    assert [number for batch in taker.batches for number in batch] == [0, 1, 2, 5]


def test_something_larger_than_the_whole_queue_is_taken_when_it_is_alone() -> None:
    """Else it could never be written, however idle everything is."""
    taker = Taker()
    writer = taker.writer(most_bytes=10)
    assert writer.put(1, 100)
    assert writer.close(60)
    assert taker.batches == [[1]]


def test_flush_does_not_wait_for_others_to_join_and_has_a_bound() -> None:
    taker = Taker()
    writer = taker.writer(linger_seconds=3600)
    writer.put(1, 1)
    assert writer.flush(60)
    taker.open.clear()
    writer.put(2, 1)
    assert not writer.flush(0.05)
    taker.open.set()
    assert writer.close(60)


def test_a_closed_writer_takes_nothing_ends_its_thread_and_says_so_once() -> None:
    taker = Taker()
    writer = taker.writer()
    writer.put(1, 1)
    assert writer.close(60)
    assert not writer.put(2, 1)
    deadline = time.monotonic() + 60
    while "flywheel-exporter" in [thread.name for thread in threading.enumerate()]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert taker.ended == 1


def test_closing_one_that_never_began_starts_no_thread() -> None:
    taker = Taker()
    assert taker.writer().close(60)
    assert taker.ended == 1


def test_a_pause_lasts_unless_the_process_ends() -> None:
    writer = Taker().writer(exit_seconds=3)
    assert writer.pause(0.01)
    ending = threading.Timer(0.05, writer.end)
    ending.start()
    started = time.monotonic()
    assert writer.pause(600)  # there is time for one more try
    while writer.pause(600):
        assert time.monotonic() - started < 60
    ending.join()

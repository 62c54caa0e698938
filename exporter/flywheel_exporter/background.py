"""A bounded queue and one thread that empties it in batches.

Putting something in never waits for the work: it takes a lock for a moment, or is refused when the queue is full. The
thread is started by the first item, so an application may fork before; after a fork the child starts with an empty
queue and a thread of its own, and what the parent had waiting stays the parent's.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Generic, TypeVar

ENDING_PAUSE = 0.25  # seconds between tries while the process ends

T = TypeVar("T")


class BackgroundWriter(Generic[T]):
    """Hands items to `write` in batches, in the order in which they came.

    Args:
        write: Takes a batch; must not raise. Called from the thread, or by `close` where no thread can be started.
        most_items, most_bytes: Room of the queue, with what is being written.
        batch_items: Most items of a batch.
        linger_seconds: How long an item may wait for others to join its batch.
        exit_seconds: How long the end of the process waits for what is left.
        after_last: Called when the writer was closed and the queue is empty.
        after_fork: Called in the child of a fork, once the queue there is empty.
    """

    def __init__(
        self,
        write: Callable[[list[T]], None],
        *,
        most_items: int,
        most_bytes: int,
        batch_items: int,
        linger_seconds: float,
        exit_seconds: float,
        after_last: Callable[[], None],
        after_fork: Callable[[], None],
    ) -> None:
        self._write = write
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._batch_items = batch_items
        self._linger = linger_seconds
        self._exit_seconds = exit_seconds
        self._after_last = after_last
        self._after_fork = after_fork
        self._begin_empty()
        itself = weakref.ref(self)  # what the interpreter keeps for its end must not keep the exporter alive
        os.register_at_fork(after_in_child=lambda: _in_child(itself))

    def put(self, item: T, size: int) -> bool:
        """Add an item of so many bytes; False if there is no room for it, or the writer is closed."""
        with self._changed:
            full = self._count >= self._most_items or self._bytes + size > self._most_bytes
            if (full and self._count) or self._closed:
                return False
            self._waiting.append((item, size))
            self._count += 1
            self._bytes += size
            if len(self._waiting) in (1, self._batch_items):
                self._changed.notify_all()
            if self._thread is None:
                self._start()
        return True

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all that was put in has been handed to `write`; whether it was."""
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._count == 0, timeout)
            finally:
                self._hurry -= 1

    def close(self, timeout: float) -> bool:
        """Take nothing more and wait at most `timeout` seconds for the queue to be empty; whether it is.

        What is left then goes on being written as long as the process lives.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            alive = self._thread is not None and self._thread.is_alive()
        if alive:
            return self.flush(timeout)
        self._empty_here()
        return True

    def pause(self, seconds: float) -> bool:
        """For `write`: wait before another try; False if there is no time for one any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None, seconds)
            if self._end is None:
                return True
            self._changed.wait_for(lambda: False, min(seconds, ENDING_PAUSE))
            return time.monotonic() < self._end

    def _begin_empty(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[T, int]] = deque()
        self._count = 0  # items waiting or being written
        self._bytes = 0
        self._hurry = 0
        self._closed = False
        self._end: float | None = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="flywheel-exporter", daemon=True)
        itself = weakref.ref(self)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending: `close` empties the queue
            self._thread = None
        # A forked child of multiprocessing ends without atexit, and forgets what its parent had registered.
        atexit.register(_at_exit, itself)
        Finalize(None, _at_exit, args=(itself,), exitpriority=10)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    break
                self._changed.wait_for(self._worth_a_batch, self._linger)
                taken, self._waiting = self._waiting, deque()
            self._work_off(taken)
        self._after_last()

    def _worth_a_batch(self) -> bool:
        return len(self._waiting) >= self._batch_items or self._hurry > 0 or self._closed

    def _work_off(self, taken: deque[tuple[T, int]]) -> None:
        while taken:
            batch = [taken.popleft() for _ in range(min(len(taken), self._batch_items))]
            self._write([item for item, _ in batch])
            with self._changed:
                self._count -= len(batch)
                self._bytes -= sum(size for _, size in batch)
                self._changed.notify_all()

    def _empty_here(self) -> None:
        with self._changed:
            taken, self._waiting = self._waiting, deque()
        self._work_off(taken)
        self._after_last()

    def end(self) -> None:
        """What the end of the process does: `close`, and no tries beyond its time."""
        with self._changed:
            self._end = time.monotonic() + self._exit_seconds
        self.close(self._exit_seconds)


def _at_exit(itself: weakref.ref[BackgroundWriter[T]]) -> None:
    writer = itself()
    if writer is not None:
        writer.end()


def _in_child(itself: weakref.ref[BackgroundWriter[T]]) -> None:
    writer = itself()
    if writer is not None:
        writer._begin_empty()
        writer._after_fork()

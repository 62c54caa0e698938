"""Takes the calls that went by, and writes them down in the background."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flywheel_exporter.background import BackgroundWriter
from flywheel_exporter.calls import Call
from flywheel_exporter.counts import Counter, Counts
from flywheel_exporter.labels import current_labels, given
from flywheel_exporter.payload_guard import TooLarge, encode_within
from flywheel_exporter.records import record_of
from flywheel_exporter.sinks import Line, Outcome, Sink

PATH = "/chat/completions"
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds between tries of one batch
SECONDS_BETWEEN_WARNINGS = 60.0
GIVE_WAY = 0.0001
"""Seconds slept after each record. Without it the thread would hold the interpreter for five milliseconds whenever
the application waits for a socket; so it holds it for one record at most."""

Redact = Callable[[dict[str, Any]], dict[str, Any] | None]
_logger = logging.getLogger("flywheel_exporter")


class Exporter:
    """A queue, a background thread and a sink; clients and transports may share one.

    Args:
        sink: Where the lines go.
        workload_id, client_id, conversation_id, description: Labels of calls that `labels(...)` gives no other.
        redact: Gets each record before it leaves the process and returns the one to write, or None to withhold it.
            If it raises, the record is not written. It runs in the background thread and may change what it gets.
        max_string_characters: Longer strings in request and response are cut, and marked; see `payload_guard`.
        max_record_bytes: Longest line. Flywheel reads up to 4,000,000 bytes unless told otherwise.
        max_answer_bytes: Longest body of an answer that is kept while it passes.
        queue_records, queue_bytes: Room for what waits; calls that find none are counted and not logged.
        batch_records: Most records written at once.
        flush_seconds: How long a record may wait for others to join its batch.
        patience_seconds: How long a batch is tried while the sink is down, before it is given up.
        exit_seconds: How long the end of the process waits for what is left.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        workload_id: str | None = None,
        client_id: str | None = None,
        conversation_id: str | None = None,
        description: str | None = None,
        redact: Redact | None = None,
        max_string_characters: int = 200_000,
        max_record_bytes: int = 3_900_000,
        max_answer_bytes: int = 16_000_000,
        queue_records: int = 10_000,
        queue_bytes: int = 64_000_000,
        batch_records: int = 500,
        flush_seconds: float = 1.0,
        patience_seconds: float = 60.0,
        exit_seconds: float = 5.0,
    ) -> None:
        self.sink = sink
        self._labels = given(workload_id, client_id, conversation_id, description)
        self._redact = redact
        self._most_characters = max_string_characters
        self._most_bytes = max_record_bytes
        self._most_answer_bytes = max_answer_bytes
        self._patience = patience_seconds
        self._counter = Counter()
        self._last_warning = 0.0
        self._exit_seconds = exit_seconds
        self._writer: BackgroundWriter[Call] = BackgroundWriter(
            self._write,
            most_items=queue_records,
            most_bytes=queue_bytes,
            batch_items=batch_records,
            linger_seconds=flush_seconds,
            exit_seconds=exit_seconds,
            after_last=self._close_sink,
            after_fork=self._counter.forget,
        )

    @property
    def counts(self) -> Counts:
        """What became of the calls so far, in this process."""
        return self._counter.snapshot()

    def flush(self, timeout: float = 10.0) -> bool:
        """Write what is waiting now, waiting at most `timeout` seconds; whether nothing is left."""
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Take no more calls and write what is waiting; whether nothing is left after `timeout` seconds.

        What is left goes on being written in the background; the sink is closed after the last of it.

        Args:
            timeout: None for the exporter's `exit_seconds`.
        """
        return self._writer.close(self._exit_seconds if timeout is None else timeout)

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin(self, request: Any) -> Call | None:
        """A call to watch if this httpx request asks for a chat completion, else None. Never raises."""
        with self.unharmed():
            if request.method == "POST" and request.url.path.endswith(PATH):
                labels = {**self._labels, **current_labels()}
                return Call(request.content, labels, self._most_answer_bytes, self._submit)
        return None

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Whatever goes wrong of ours in the block stays in it: the application's call goes on."""
        try:
            yield
        except Exception as error:
            self._warn(f"a call could not be logged ({type(error).__name__}: {error})")

    def _submit(self, call: Call) -> None:
        with self.unharmed():
            self._counter.add(seen=1)
            if not self._writer.put(call, call.size):
                self._counter.add(dropped_queue_full=1)
                self._warn("the queue is full, or closed; the call is not logged")

    def _close_sink(self) -> None:
        with self.unharmed():
            self.sink.close()

    def _write(self, calls: list[Call]) -> None:
        lines = []
        for call in calls:
            try:
                line = self._line(call)
            except Exception as error:  # also whatever a redaction hook raises
                self._counter.add(failed=1)
                self._warn(f"a call could not be logged ({type(error).__name__}: {error})")
            else:
                if line is not None:
                    lines.append(line)
            time.sleep(GIVE_WAY)
        if lines:
            try:
                self._deliver(lines)
            except Exception as error:
                self._counter.add(dropped_sink_down=len(lines))
                self._warn(f"{len(lines)} records are lost ({type(error).__name__}: {error})")

    def _line(self, call: Call) -> Line | None:
        record: dict[str, Any] | None = record_of(call)
        assert record is not None
        if self._redact is not None:
            record = self._redact(record)
            if record is None:
                self._counter.add(withheld=1)
                return None
        try:
            data, cut = encode_within(record, self._most_characters, self._most_bytes)
        except TooLarge:
            self._counter.add(too_large=1)
            self._warn("a call was too large to be logged")
            return None
        self._counter.add(cut=int(cut))
        return Line(str(record.get("id", "")), data)

    def _deliver(self, lines: Sequence[Line]) -> None:
        """Hand lines to the sink until it has taken or refused each, or patience is at an end."""
        deadline = time.monotonic() + self._patience
        pause = FIRST_PAUSE
        while lines:
            outcome = self._attempt(lines)
            self._counter.add(
                written=len(lines) - outcome.refused - len(outcome.again), refused_by_sink=outcome.refused
            )
            if outcome.refused:
                self._warn(f"the sink refused {outcome.refused} records ({outcome.reason})")
            lines = outcome.again
            if not lines:
                return
            self._warn(f"the sink is not reachable ({outcome.reason}); calls wait in the queue")
            if time.monotonic() + pause > deadline or not self._writer.pause(pause):
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        self._counter.add(dropped_sink_down=len(lines))
        self._warn(f"{len(lines)} records are lost: the sink did not take them")

    def _attempt(self, lines: Sequence[Line]) -> Outcome:
        try:
            return self.sink.write(lines)
        except Exception as error:
            return Outcome(again=lines, reason=f"{type(error).__name__}: {error}")

    def _warn(self, message: str) -> None:
        now = time.monotonic()
        if now - self._last_warning >= SECONDS_BETWEEN_WARNINGS or not self._last_warning:
            self._last_warning = now
            _logger.warning("flywheel-exporter: %s; counts so far: %s", message, self.counts)

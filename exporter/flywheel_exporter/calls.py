"""One call as it goes by. This runs in the application's own path: it notes and keeps, and looks at nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Call:
    """A chat completion under way.

    Args:
        body: The request's body.
        labels: Who it is made for; not changed.
        most_bytes: Of the answer's body; of a longer one nothing is kept.
        submit: Takes the call when it is over; called once, and must not raise.
    """

    __slots__ = (
        "_most_bytes",
        "_over",
        "_started",
        "_submit",
        "answer_bytes",
        "body",
        "chunks",
        "error",
        "headers",
        "labels",
        "latency",
        "response_type",
        "status",
        "timestamp",
        "too_long",
    )

    def __init__(
        self, body: bytes, labels: Mapping[str, str], most_bytes: int, submit: Callable[[Call], None]
    ) -> None:
        self.body = body
        self.labels = labels
        self.timestamp = time.time()
        self.status: int | None = None
        self.headers: Any = None
        self.response_type: Any = None
        self.chunks: list[tuple[float, bytes]] = []  # seconds since the call began, bytes as they came
        self.answer_bytes = 0
        self.too_long = False
        self.error: BaseException | None = None
        self.latency = 0.0
        self._most_bytes = most_bytes
        self._submit = submit
        self._over = False
        self._started = time.perf_counter()

    @property
    def size(self) -> int:
        """Bytes that the call holds on to."""
        return len(self.body) + self.answer_bytes

    def answered(self, response: Any) -> None:
        """The answer has begun. Its class is kept because it can unpack the body later."""
        self.status = response.status_code
        self.headers = response.headers
        self.response_type = type(response)

    def chunk(self, data: bytes) -> None:
        """A part of the answer's body went by, packed as it travels."""
        self.answer_bytes += len(data)
        if self.answer_bytes <= self._most_bytes:
            self.chunks.append((time.perf_counter() - self._started, data))
        elif not self.too_long:
            self.too_long = True
            self.chunks.clear()

    def finish(self, error: BaseException | None = None) -> None:
        """The call is over: the body ended, somebody stopped reading, or something was raised. The first one counts."""
        if self._over:
            return
        self._over = True
        self.latency = time.perf_counter() - self._started
        self.error = error
        if self.too_long:
            self.answer_bytes = 0
        self._submit(self)

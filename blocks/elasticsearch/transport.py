"""The official client's way to the wire, with patience.

What may pass is tried again: a dropped connection, a time-out, and the statuses 429, 502, 503 and 504. The pause
doubles from half a second up to half a minute, drawn between half of that and all of it, so that readers who failed
together do not come back together; a `Retry-After` is honoured. With the usual eight attempts some 45 seconds pass
before the error comes through, enough for a node to restart.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from threading import Event
from typing import Any

from elastic_transport import ConnectionError as ConnectionFailed
from elastic_transport import ConnectionTimeout, TlsError, Transport, TransportApiResponse

from blocks.endpoints.chat_answers import retry_after
from flywheel.errors import TransientRemoteError

RETRIED = frozenset({429, 502, 503, 504})
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class PatientTransport(Transport):
    """A transport that retries with growing pauses. Closing it ends a pause under way.

    It also asks for answers in the form of version 8, which servers of version 8 and 9 both understand; a client of
    version 9 left alone is refused by a server of version 8.
    """

    attempts = 8
    first_pause = FIRST_PAUSE

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._closed = Event()
        self._random = random.Random()

    def perform_request(
        self, method: str, target: str, *, headers: Mapping[str, Any] | Any = None, **options: Any
    ) -> TransportApiResponse:
        """See `Transport.perform_request`. The answer to the last attempt is returned, or its error raised."""
        options |= {"max_retries": 0, "retry_on_status": (), "retry_on_timeout": False}
        sent = {
            name: value.replace("compatible-with=9", "compatible-with=8") for name, value in headers.items()
        }
        for attempt in range(1, self.attempts + 1):
            asked: float | None = None
            try:
                answer = super().perform_request(method, target, headers=sent, **options)
                if answer.meta.status not in RETRIED or attempt == self.attempts:
                    return answer
                asked = retry_after(answer.meta.headers.get("retry-after"))
            except (ConnectionFailed, ConnectionTimeout) as error:
                if isinstance(error, TlsError) or attempt == self.attempts:
                    raise
            if self._closed.wait(self.pause(attempt, asked)):
                raise TransientRemoteError("The reading from Elasticsearch was ended before it was done.")
        raise AssertionError("the last attempt returns or raises")

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after the given attempt, counted from 1."""
        grown = min(self.first_pause * 2.0 ** (attempt - 1), LONGEST_PAUSE)
        return max(grown * self._random.uniform(0.5, 1.0), min(asked or 0.0, LONGEST_PAUSE))

    def interrupt(self) -> None:
        """End pauses under way, and let nothing be tried again."""
        self._closed.set()

    def close(self) -> None:
        """End pauses, then close the connections."""
        self.interrupt()
        super().close()

"""A sink that writes to Elasticsearch through its bulk API."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import httpx

from flywheel_exporter.sinks import Line, Outcome

PASSING = frozenset({408, 429, 500, 502, 503, 504})
ALREADY_THERE = 409
TOO_LARGE = 413
SHOWN = 300


class Elasticsearch:
    """Creates a document for each line, under the line's id: handing a batch in twice adds nothing.

    Args:
        url: Of the cluster, such as `https://logs.example.com:9200`.
        index: Index, alias or data stream to write to.
        api_key: Encoded API key; or
        basic_auth: User and password. Both belong into the application's secrets, not into its source.
        verify: As for httpx: an `ssl.SSLContext`, or False to trust anybody.
        timeout_seconds: Longest wait for an answer of the cluster.
        batch_bytes: Longest body of one request; longer batches are sent in parts.
    """

    def __init__(
        self,
        url: str,
        index: str,
        *,
        api_key: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        verify: Any = True,
        timeout_seconds: float = 30.0,
        batch_bytes: int = 5_000_000,
    ) -> None:
        if api_key is not None and basic_auth is not None:
            raise ValueError("Give api_key or basic_auth, not both.")
        self._url = f"{url.rstrip('/')}/_bulk"
        self._index = index
        self._headers = {"content-type": "application/x-ndjson"}
        if api_key is not None:
            self._headers["authorization"] = f"ApiKey {api_key}"
        self._auth = basic_auth
        self._verify = verify
        self._timeout = timeout_seconds
        self._batch_bytes = batch_bytes
        self._client: httpx.Client | None = None
        self._process = 0

    def write(self, lines: Sequence[Line]) -> Outcome:
        """See `Sink`. A wrong key, an index that is not there and the like refuse the whole batch."""
        refused = 0
        again: list[Line] = []
        reason = ""
        for part in self._parts(lines):
            outcome = self._send(part)
            refused += outcome.refused
            again += outcome.again
            reason = outcome.reason or reason
        return Outcome(refused, again, reason)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self._process == os.getpid():
            self._client.close()
        self._client = None

    def _parts(self, lines: Sequence[Line]) -> list[list[Line]]:
        parts: list[list[Line]] = [[]]
        size = 0
        for line in lines:
            if size + len(line.data) > self._batch_bytes and parts[-1]:
                parts.append([])
                size = 0
            parts[-1].append(line)
            size += len(line.data)
        return [part for part in parts if part]

    def _send(self, lines: Sequence[Line]) -> Outcome:
        body = b"".join([self._action(line) + b"\n" + line.data + b"\n" for line in lines])
        try:
            response = self._connected().post(self._url, content=body, headers=self._headers)
        except httpx.TransportError as error:
            return Outcome(again=lines, reason=f"{type(error).__name__}: {error}")
        if response.status_code == TOO_LARGE and len(lines) > 1:
            middle = len(lines) // 2
            first, second = self._send(lines[:middle]), self._send(lines[middle:])
            return Outcome(
                first.refused + second.refused, [*first.again, *second.again], first.reason or second.reason
            )
        if response.status_code == TOO_LARGE:
            return Outcome(refused=len(lines), reason="the cluster takes no request of that size")
        if response.status_code in PASSING:
            return Outcome(again=lines, reason=f"status {response.status_code}")
        if not response.is_success:
            return Outcome(
                refused=len(lines), reason=f"status {response.status_code}: {response.text[:SHOWN]}"
            )
        return self._judged(lines, response)

    @staticmethod
    def _judged(lines: Sequence[Line], response: httpx.Response) -> Outcome:
        items = response.json()["items"]
        again = []
        refused = 0
        reason = ""
        for line, item in zip(lines, items, strict=True):
            [result] = item.values()
            status = result.get("status", 500)
            if status < 300 or status == ALREADY_THERE:
                continue
            reason = json.dumps(result.get("error"))[:SHOWN]
            if status in PASSING:
                again.append(line)
            else:
                refused += 1
        return Outcome(refused, again, reason)

    def _action(self, line: Line) -> bytes:
        return json.dumps({"create": {"_index": self._index, "_id": line.id}}).encode()

    def _connected(self) -> httpx.Client:
        # A forked child must not speak over its parent's connections.
        if self._client is None or self._process != os.getpid():
            self._client = httpx.Client(auth=self._auth, verify=self._verify, timeout=self._timeout)
            self._process = os.getpid()
        return self._client

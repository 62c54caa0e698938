"""A streamed chat completion, put together as its pieces come; it tells when the first token was there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder()
_JOINED = frozenset({"content", "refusal", "reasoning_content", "reasoning"})
DONE = b"[DONE]"


class StreamedCompletion:
    """Reads the server-sent events of one answer.

    A server that does not stream answers with one JSON document; that is kept as it is.
    """

    def __init__(self) -> None:
        self.first_token: float | None = None
        """`time.perf_counter()` when the first piece of an answer came."""
        self._rest = b""
        self._plain: list[bytes] = []
        self._events: bool | None = None
        self._whole: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._error: dict[str, Any] | None = None
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self._events is None and data.strip():
            self._events = not data.lstrip().startswith((b"{", b"[", b"<"))
        if not self._events:
            self._plain.append(data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def body(self) -> bytes:
        """The answer as if it had not been streamed, ready to be read like any other.

        A stream that ended before its answer did is no JSON, so that it counts as broken off.
        """
        if self._rest.startswith(b"data:"):  # a last line without its end
            self._event(self._rest[5:].strip())
            self._rest = b""
        if not self._events:
            return b"".join(self._plain)
        if self._error is not None:
            return msgspec.json.encode(self._error)
        finished = self._choices and all(c.get("finish_reason") for c in self._choices.values())
        if not (self._ended or finished):
            return b"the stream ended before the answer did"
        choices = [
            {**choice, "index": index, "message": _message(choice["message"])}
            for index, choice in sorted(self._choices.items())
        ]
        return msgspec.json.encode({**self._whole, "object": "chat.completion", "choices": choices})

    def _event(self, data: bytes) -> None:
        if data == DONE:
            self._ended = True
            return
        try:
            event = _DECODER.decode(data)
        except (msgspec.DecodeError, RecursionError):
            event = {"error": {"message": "the stream holds what is no JSON", "code": 502}}
        if not isinstance(event, Mapping):
            return
        if event.get("error"):
            self._error = self._error or dict(event)
            return
        for name, value in event.items():
            if name not in ("choices", "object") and value is not None:
                self._whole[name] = value
        for position, choice in enumerate(event.get("choices") or ()):
            if isinstance(choice, Mapping):
                index = choice.get("index")
                self._choice(index if isinstance(index, int) else position, choice)

    def _choice(self, index: int, choice: Mapping[str, Any]) -> None:
        kept = self._choices.setdefault(index, {"message": {"role": "assistant", "content": None}})
        if choice.get("finish_reason"):
            kept["finish_reason"] = choice["finish_reason"]
        _extend_logprobs(kept, choice.get("logprobs"))
        delta = choice.get("delta")
        for name, value in delta.items() if isinstance(delta, Mapping) else ():
            if value is None or value == "":
                continue
            if name != "role" and self.first_token is None:
                self.first_token = time.perf_counter()
            if name == "tool_calls" and isinstance(value, list):
                _merge_calls(kept["message"].setdefault("tool_calls", {}), value)
            elif name in _JOINED and isinstance(value, str):
                kept["message"].setdefault(name, None)
                pieces = kept["message"][name] or []
                pieces.append(value)
                kept["message"][name] = pieces
            else:
                kept["message"][name] = value


def _extend_logprobs(choice: dict[str, Any], told: Any) -> None:
    """Each piece tells the log-probabilities of its own tokens."""
    if not isinstance(told, Mapping):
        return
    kept = choice.setdefault("logprobs", {})
    for name, entries in told.items():
        if isinstance(entries, list):
            kept.setdefault(name, []).extend(entries)


def _merge_calls(calls: dict[int, dict[str, Any]], pieces: list[Any]) -> None:
    for position, piece in enumerate(pieces):
        if not isinstance(piece, Mapping):
            continue
        index = piece.get("index")
        call = calls.setdefault(
            index if isinstance(index, int) else position,
            {"id": None, "type": "function", "function": {"name": "", "arguments": []}},
        )
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function")
        if isinstance(function, Mapping):
            call["function"]["name"] += function.get("name") or ""
            call["function"]["arguments"].append(function.get("arguments") or "")


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its pieces joined."""
    joined: dict[str, Any] = {
        name: "".join(value) if name in _JOINED and isinstance(value, list) else value
        for name, value in message.items()
    }
    if "tool_calls" in joined:
        joined["tool_calls"] = [
            {
                **call,
                "id": call["id"] or f"call_{index}",
                "function": {**call["function"], "arguments": "".join(call["function"]["arguments"])},
            }
            for index, call in sorted(joined["tool_calls"].items())
        ]
    return joined

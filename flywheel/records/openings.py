"""How the requests of a workload begin and end: the same bytes around the few messages that differ.

Most of a request is its system prompt and its tools, and one piece of code writes them, so they are the same bytes
from call to call. Where a request begins and ends with bytes that were met before, only what stands between them is
decoded and hashed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.records.canonical import Beginning
from flywheel.records.frames import Frame, Frames
from flywheel.records.messages import SYSTEM_ROLES

_MOST = 16  # remembered; each costs a comparison of bytes, which mostly ends at the first few
_TRIED = 1_000  # requests after which it shows whether they begin alike
_COMMA = re.compile(rb"[ \t\r\n]*,")

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_decode = msgspec.json.decode


class Opening:
    """The bytes up to the first message that is no system message, those from the end of the list on, what they say."""

    __slots__ = ("after", "before", "beginning", "frame", "messages")

    def __init__(
        self, before: bytes, after: bytes, messages: Sequence[Mapping[str, Any]], frame: Frame
    ) -> None:
        self.before = before
        self.after = after
        self.messages = list(messages)
        self.frame = frame
        self.beginning = Beginning(self.messages, frame)


class Parts(NamedTuple):
    """A request in parts: its messages as decoded (those behind the opening's, if there is one), and its frame."""

    messages: Any
    frame: Frame
    opening: Opening | None = None


class Openings:
    """Takes requests apart, remembering the openings it has met."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._known: list[Opening] = []
        self._tried = self._met = 0

    def take_apart(self, request: bytes) -> Parts:
        """The parts of a request; without messages they are None.

        Raises: msgspec.DecodeError, UnicodeDecodeError or RecursionError when the request is not a JSON object.
        """
        for opening in self._known:
            if request.startswith(opening.before) and request.endswith(opening.after):
                between = request[len(opening.before) : len(request) - len(opening.after)]
                try:
                    messages = _decode(b"[" + between + b"]")
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    break  # what is wrong where is told by the decoder of the whole
                if messages:  # else the comma before them is wrong
                    self._met += 1
                    return Parts(messages, opening.frame, opening)
        raw, frame = self._frames.take_apart(request)
        messages = _decode(raw)
        if self._tried < _TRIED or self._met * 2 > self._tried:
            self._tried += 1
            self._learn(request, raw, frame)
        return Parts(messages, frame)

    def _learn(self, request: bytes, messages: bytes, frame: Frame) -> None:
        start = request.find(messages)
        end = start + len(messages)
        if start < 0 or not _holds_the_messages(request[:start], request[end:]):
            return
        try:
            elements = _elements.decode(messages)
        except msgspec.ValidationError:
            return
        behind = start + 1
        said = []
        for element in elements[:-1]:  # behind an opening there is a message
            message = _decode(element)
            if not _is_plain_system(message):
                break
            raw = bytes(element)
            behind = request.index(raw, behind) + len(raw)
            comma = _COMMA.match(request, behind)
            if comma is None:
                return
            behind = comma.end()
            said.append(message)
        if said:
            del self._known[_MOST - 1 :]
            self._known.insert(0, Opening(request[:behind], request[end - 1 :], said, frame))


def _is_plain_system(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and isinstance(message["role"], str)
        and message["role"] in SYSTEM_ROLES
        and isinstance(message["content"], str)
    )


def _holds_the_messages(before: bytes, after: bytes) -> bool:
    """Whether what stands between these bytes is the value of the request's own key `messages`."""
    probe = "a place that no request speaks of"
    try:
        request = _decode(before + msgspec.json.encode(probe) + after)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(request, dict) and request.get("messages") == probe

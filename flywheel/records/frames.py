"""What a request says beside its messages: model, tools, sampling settings. The calls of a workload share it.

The calls of one workload are usually made by one piece of code, so their requests are the same bytes before
and after the messages. Those bytes are looked up; only new ones are decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.records.plain import HASH_BYTES, encode_deterministic, plain_value

VOLATILE = frozenset(
    {
        "model",
        "seed",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "metadata",
        "store",
        "service_tier",
        "stream",
        "stream_options",
    }
)
"""Keys that say how a call was made and not what was asked."""

_TOOL_KEYS = frozenset({"tools", "functions"})
_MOST_FRAMES = 2_048  # remembered; a workload has a handful
_TRIED = 1_000  # requests after which it shows whether they share anything


class Frame:
    """One request without its messages.

    Attributes:
        rest: The other keys, values as JSON.
        offered: JSON of the tools, or of the older functions; None where there are none.
        misfit: Which key's tools are none that the API knows, such as a text in place of the list; None if all are.
        tools_hash, settings_hash: Of the canonical tools, and of everything else but `VOLATILE` keys, 16
        bytes each.
    """

    __slots__ = ("misfit", "offered", "rest", "settings_hash", "tools_hash")

    def __init__(self, rest: Mapping[str, bytes]) -> None:
        self.rest = rest
        self.offered = next(
            (rest[k] for k in ("tools", "functions") if rest.get(k, b"null") != b"null"), None
        )
        tools = _decoded({k: v for k, v in rest.items() if k in _TOOL_KEYS})
        self.misfit = next((name for name, value in tools.items() if not _are_tools(name, value)), None)
        self.tools_hash = _hash_of(tools)
        self.settings_hash = _hash_of(
            _decoded({k: v for k, v in rest.items() if k not in _TOOL_KEYS | VOLATILE})
        )


def _are_tools(name: str, value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        return False
    # A tool that is no function, as hosted APIs have them, says what it is under another key.
    functions = value if name == "functions" else [tool["function"] for tool in value if "function" in tool]
    return all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in functions)


def _decoded(fields: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: plain_value(msgspec.json.decode(raw)) for name, raw in fields.items()}


def _hash_of(values: Mapping[str, Any]) -> bytes:
    said = {name: value for name, value in values.items() if value not in (None, [])}
    return hashlib.blake2b(encode_deterministic(said), digest_size=HASH_BYTES).digest()


class _Messages(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw(b"null")


_KEY = b'"messages"'
_messages = msgspec.json.Decoder(_Messages)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Frames:
    """Takes requests apart, remembering the frames it has met."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Frame] = {}
        self._tried = self._met = 0

    def take_apart(self, request: bytes) -> tuple[bytes, Frame]:
        """JSON of a request's messages ("null" where it has none), and its frame.

        Raises: msgspec.DecodeError when the request is not a JSON object.
        """
        messages = bytes(_messages.decode(request).messages)
        key = request.find(_KEY)
        start = request.find(b"[", key)
        # Only where the key stands once, right before the messages, do the bytes around them say everything
        # else.
        found_for_sure = key >= 0 and request.find(_KEY, start) < 0 and request.startswith(messages, start)
        if not found_for_sure or request[key + len(_KEY) : start].strip() != b":" or self._is_useless():
            return messages, _frame(request)
        around = (request[:start], request[start + len(messages) :])
        self._tried += 1
        frame = self._known.get(around)
        if frame is None:
            if len(self._known) >= _MOST_FRAMES:
                self._known.clear()
            frame = self._known[around] = _frame(request)
        else:
            self._met += 1
        return messages, frame

    def _is_useless(self) -> bool:
        return self._tried >= _TRIED and self._met * 10 < self._tried


def _frame(request: bytes) -> Frame:
    fields: dict[str, Any] = _fields.decode(request)
    return Frame({key: bytes(value) for key, value in fields.items() if key != "messages"})

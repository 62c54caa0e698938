"""One form for calls that mean the same, and the hashes and ids that are made from it.

Two requests are the same if they differ only in
- the order of keys, white space, the spelling of numbers (1 and 1.0) and null against absent;
- tool-call arguments as a string or as an object;
- the ids of tool calls (they are random; who answers whom is kept);
- content as a string or as a list of one text part;
- the `VOLATILE` keys of `flywheel.records.frames`, which say how the call was made and not what was asked.
Everything else counts: system prompt, history, tools, sampling settings, unknown keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.errors import DataError
from flywheel.records.arguments import parse_arguments
from flywheel.records.frames import Frame
from flywheel.records.messages import SYSTEM_ROLES, ToolCall, content_text, tool_calls
from flywheel.records.plain import HASH_BYTES, encode_deterministic, plain_value

ID_LETTERS = 32
_CACHED = 2_048  # distinct system prompts remembered; a workload has a handful

_encode = encode_deterministic


class Fingerprint(NamedTuple):
    """The hashes of one call, 16 bytes each; `curation.schema.VALIDATED` says what each is for."""

    request: bytes
    answer: bytes
    context: bytes
    thread: bytes
    prefixes: list[bytes]


class Beginning:
    """System messages that requests begin with, hashed once for all of them.

    Attributes:
        system: The messages in canonical form.
        hasher: Has taken them in; to be copied.
        context: The hash of them and the frame's tools.
    """

    __slots__ = ("context", "hasher", "system")

    def __init__(self, messages: Sequence[Mapping[str, Any]], frame: Frame) -> None:
        self.system = b"".join([_encode(canonical_message(message, {})) for message in messages])
        self.hasher = _hasher(self.system)
        self.context = _hash(self.system + frame.tools_hash)


class Fingerprinter:
    """Makes fingerprints, remembering what the calls of a workload share: the system prompt under its tools."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[bytes, bytes], bytes] = {}

    def fingerprint(
        self,
        messages: Sequence[Mapping[str, Any]],
        frame: Frame,
        answer: Mapping[str, Any],
        calls: Sequence[ToolCall] | None = None,
        beginning: Beginning | None = None,
    ) -> Fingerprint:
        """The hashes of a call.

        Args:
            messages: The request's messages, those behind `beginning` if it is given.
            frame: The request without them.
            answer: The answer's message.
            calls: Its tool calls, if they were parsed before.
        """
        ids: dict[str, int] = {}
        encoded = [_encode(canonical_message(message, ids)) for message in messages]
        said = _encode(_as_said(answer, calls))
        roles = [message.get("role") for message in messages]
        begun = _hasher() if beginning is None else beginning.hasher
        request = begun.copy()
        request.update(b"".join(encoded))
        if "assistant" in roles:
            thread, prefixes = _thread(begun.copy(), messages, encoded)
        else:
            thread, prefixes = request.copy(), []
        request.update(frame.tools_hash + frame.settings_hash)
        thread.update(said)
        system = b"".join([data for role, data in zip(roles, encoded, strict=True) if role in SYSTEM_ROLES])
        if beginning is None:
            context = self._context(system, frame.tools_hash)
        elif system:
            context = self._context(beginning.system + system, frame.tools_hash)
        else:
            context = beginning.context
        return Fingerprint(request.digest(), _hash(said), context, thread.digest(), prefixes)

    def _context(self, system: bytes, tools_hash: bytes) -> bytes:
        context = self._contexts.get((system, tools_hash))
        if context is None:
            if len(self._contexts) >= _CACHED:
                self._contexts.clear()
            context = self._contexts[system, tools_hash] = _hash(system + tools_hash)
        return context


def _thread(
    thread: hashlib.blake2b, messages: Sequence[Mapping[str, Any]], encoded: Sequence[bytes]
) -> tuple[hashlib.blake2b, list[bytes]]:
    """The hash so far of a conversation as later turns will hold it, and the hash of each of its earlier
    turns.
    """
    prefixes = []
    for message, data in zip(messages, encoded, strict=True):
        if message.get("role") == "assistant":
            thread.update(_encode(_as_said(message)))
            prefixes.append(thread.digest())
        else:
            thread.update(data)
    return thread, prefixes


def fingerprint(request: Mapping[str, Any], answer: Mapping[str, Any]) -> Fingerprint:
    """The hashes of one decoded call; `Fingerprinter` is the way for many."""
    rest = {key: msgspec.json.encode(value) for key, value in request.items() if key != "messages"}
    return Fingerprinter().fingerprint(request.get("messages") or [], Frame(rest), answer)


def canonical_message(message: Mapping[str, Any], ids: dict[str, int]) -> Mapping[str, Any]:
    """A message in the one form that its spellings share.

    Args:
        message: As logged; not changed.
        ids: Tool-call ids of the conversation so far to their number, which stands for them; added to.
    """
    content = message.get("content")
    if isinstance(content, str) and len(message) == 2:  # role and content: nearly every message
        return message
    form = {key: plain_value(value) for key, value in message.items() if value is not None and value != []}
    if isinstance(content, list) and len(content) == 1:
        part = content[0]
        if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
            form["content"] = part["text"]
    if "tool_calls" in form and isinstance(form["tool_calls"], list):
        form["tool_calls"] = [_canonical_call(call, ids) for call in form["tool_calls"]]
        if form.get("content") == "":
            del form["content"]
    if "function_call" in form:
        form["function_call"] = _canonical_function(form["function_call"])
    if isinstance(form.get("tool_call_id"), str):
        form["tool_call_id"] = ids.setdefault(form["tool_call_id"], len(ids))
    return form


def _canonical_call(call: Any, ids: dict[str, int]) -> Any:
    if not isinstance(call, dict):
        return call
    form = {
        key: value for key, value in call.items() if key != "index" and (key, value) != ("type", "function")
    }
    if isinstance(form.get("id"), str):
        form["id"] = ids.setdefault(form["id"], len(ids))
    if "function" in form:
        form["function"] = _canonical_function(form["function"])
    return form


def _canonical_function(function: Any) -> Any:
    if not isinstance(function, dict):
        return function
    return {**function, "arguments": _canonical_arguments(function.get("arguments"))}


def _canonical_arguments(arguments: Any) -> Any:
    if isinstance(arguments, dict):
        return plain_value(arguments)
    try:
        return plain_value(parse_arguments(arguments))
    except DataError:
        return arguments


def _as_said(message: Mapping[str, Any], calls: Sequence[ToolCall] | None = None) -> list[Any]:
    """What an assistant message says and calls, without what APIs add around it and clients leave out."""
    made = tool_calls(message) if calls is None else calls
    named = [[call.name, _canonical_arguments(call.arguments)] for call in made]
    return ["assistant", content_text(message.get("content")), *named]


def content_id(parts: Iterable[Any]) -> str:
    """An id made from what a record holds, so that reading the same record twice gives one id."""
    return hashlib.sha256(_encode([plain_value(part) for part in parts])).hexdigest()[:ID_LETTERS]


def content_id_of_json(data: bytes) -> str:
    """The same as `content_id` of the one value that is written here as JSON, in half the time.

    Raises: msgspec.DecodeError, UnicodeDecodeError, RecursionError where it is no JSON.
    """
    return hashlib.sha256(_encode([_decode_plain(data)])).hexdigest()[:ID_LETTERS]


def _plain_number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


_decode_plain = msgspec.json.Decoder(float_hook=_plain_number).decode


def _hasher(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=HASH_BYTES)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()

"""One form for calls that mean the same, and the hashes and ids that are made from it.

Two requests are the same if they differ only in
- the order of keys, white space, the spelling of numbers (1 and 1.0) and null against absent;
- tool-call arguments as a string or as an object;
- the ids of tool calls (they are random; who answers whom is kept);
- content as a string or as a list of one text part;
- `VOLATILE` keys, which say how the call was made and not what was asked.
Everything else counts: system prompt, history, tools, sampling settings, unknown keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.errors import DataError
from flywheel.records.arguments import parse_arguments
from flywheel.records.messages import SYSTEM_ROLES, ToolCall, content_text, tool_calls

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
HASH_BYTES = 16
ID_LETTERS = 32
_CACHED = 2_048  # distinct tool lists or settings remembered; a workload has a handful

_encode = msgspec.json.Encoder(order="deterministic").encode


class Fingerprint(NamedTuple):
    """The hashes of one call, 16 bytes each; `curation.schema.VALIDATED` says what each is for."""

    request: bytes
    answer: bytes
    context: bytes
    thread: bytes
    prefixes: list[bytes]


class Fingerprinter:
    """Makes fingerprints, remembering what the calls of a workload share: tool lists and settings."""

    def __init__(self) -> None:
        self._digests: dict[tuple[tuple[str, bytes], ...], bytes] = {}

    def fingerprint(
        self,
        messages: Sequence[Mapping[str, Any]],
        rest: Mapping[str, bytes],
        answer: Mapping[str, Any],
        calls: Sequence[ToolCall] | None = None,
    ) -> Fingerprint:
        """The hashes of a call.

        Args:
            messages: The request's messages.
            rest: The request's other keys, each with its value as JSON bytes.
            answer: The answer's message.
            calls: Its tool calls, if they were parsed before.
        """
        ids: dict[str, int] = {}
        whole, context = _hasher(), _hasher()
        thread = whole  # until the first assistant message they are the same
        prefixes = []
        for message in messages:
            role = message.get("role")
            encoded = _encode(canonical_message(message, ids))
            if role == "assistant":
                if thread is whole:
                    thread = whole.copy()
                thread.update(_encode(_as_said(message)))
                prefixes.append(thread.digest())
            elif thread is not whole:
                thread.update(encoded)
            whole.update(encoded)
            if role in SYSTEM_ROLES:
                context.update(encoded)
        said = _encode(_as_said(answer, calls))
        thread = thread.copy()
        thread.update(said)
        tools = self._digest(tuple([item for item in rest.items() if item[0] in _TOOL_KEYS]))
        context.update(tools)
        whole.update(tools)
        whole.update(self._digest(tuple([item for item in rest.items() if item[0] not in _NO_SETTINGS])))
        return Fingerprint(whole.digest(), _hash(said), context.digest(), thread.digest(), prefixes)

    def _digest(self, items: tuple[tuple[str, bytes], ...]) -> bytes:
        digest = self._digests.get(items)
        if digest is None:
            if len(self._digests) >= _CACHED:
                self._digests.clear()
            values = {name: plain_value(msgspec.json.decode(raw)) for name, raw in items}
            digest = _hash(
                _encode({name: value for name, value in values.items() if value not in (None, [])})
            )
            self._digests[items] = digest
        return digest


_TOOL_KEYS = frozenset({"tools", "functions"})
_NO_SETTINGS = _TOOL_KEYS | VOLATILE


def fingerprint(request: Mapping[str, Any], answer: Mapping[str, Any]) -> Fingerprint:
    """The hashes of one decoded call; `Fingerprinter` is the way for many."""
    rest = {key: msgspec.json.encode(value) for key, value in request.items() if key != "messages"}
    return Fingerprinter().fingerprint(request.get("messages") or [], rest, answer)


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


def plain_value(value: Any) -> Any:
    """A JSON value with whole numbers written as such: 1.0 becomes 1, at any depth."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: plain_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain_value(inner) for inner in value]
    return value


def content_id(parts: Iterable[Any]) -> str:
    """An id made from what a record holds, so that reading the same record twice gives one id."""
    return hashlib.sha256(_encode([plain_value(part) for part in parts])).hexdigest()[:ID_LETTERS]


def _hasher() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=HASH_BYTES)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()

"""One logged call with placeholders where personal data stood.

The same text has the same placeholder all over a record (request, answer, arguments of tools, other fields), so an
answer that repeats an address from the question still does. Keys of objects, names of tools, schemas, roles and ids
are not text of people and stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.redaction.detectors import CARD_FIELD_DIGITS, PHONE_FIELD, SECRET_FIELD, Detector, passes_luhn

_STRUCTURE = frozenset(
    {"role", "type", "id", "tool_call_id", "finish_reason", "object", "system_fingerprint"}
)
_IDENTIFIER = re.compile(r"[\w.:/|=+-]{0,128}")
"""What a role or an id may look like; anything else in its place is text."""
_OF_THE_API = frozenset({"model", "tools", "functions", "tool_choice", "response_format", "created", "usage"})
_FUNCTION = frozenset({"function", "function_call"})
_SAID_ANEW = frozenset({"logprobs"})
"""Spells the answer out once more, token by token: where anything of a response is redacted, it goes."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RecordRedactor:
    """Replaces what a detector finds in one record after the other.

    `counts` has the replacements by kind, over all records.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._placeholders: dict[tuple[str, str], str] = {}
        self._numbers: Counter[str] = Counter()
        self._replaced = 0
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        """A new record: placeholders are numbered from 1 again."""
        self._placeholders.clear()
        self._numbers.clear()
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """Replacements in this record so far."""
        return self._replaced

    def payload(self, raw: bytes | None) -> bytes | None:
        """A request, a response or an object of other fields; the very same bytes where nothing is found in it."""
        if raw is None:
            return None
        before = self._replaced
        try:
            value = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = raw.decode(errors="backslashreplace")
            redacted = self.text(text)
            return raw if self._replaced == before else redacted.encode()
        changed = self.value(value)
        if self._replaced == before:
            return raw
        return _encode(_without_spelling(changed))

    def value(self, value: Any) -> Any:
        """Any JSON value; not changed itself."""
        if isinstance(value, dict):
            return {
                key: inner if key in _OF_THE_API else self._field(key, inner) for key, inner in value.items()
            }
        return self._inside(value)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._inside(inner) for inner in value]
        if isinstance(value, dict):
            return {key: self._field(key, inner) for key, inner in value.items()}
        return value

    def _field(self, key: str, value: Any) -> Any:
        if key in _STRUCTURE and isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            return value
        if key in _FUNCTION and isinstance(value, dict):
            return {
                name: inner if name == "name" else self._field(name, inner) for name, inner in value.items()
            }
        if key == "arguments":
            return self._arguments(value)
        return self._inside(value)

    def _arguments(self, value: Any) -> Any:
        """Arguments of a tool: fields whose name says what they hold count too, also where the value is a number."""
        if isinstance(value, str):
            try:
                decoded = _decode(value)
            except (msgspec.DecodeError, RecursionError):
                return self.text(value)
            if not isinstance(decoded, dict | list):
                return self.text(value)
            before = self._replaced
            redacted = self._argument("", decoded)
            return value if self._replaced == before else _encode(redacted).decode()
        return self._argument("", value)

    def _argument(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._argument(name, inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._argument(key, inner) for inner in value]
        if isinstance(value, str):
            kind = self._kind_by_name(key, value)
            return self._placeholder(kind, value) if kind else self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            digits = str(value)
            kind = self._kind_by_name(key, digits)
            if (
                kind is None
                and len(digits) in CARD_FIELD_DIGITS
                and digits[0] in "23456"
                and passes_luhn(digits)
            ):
                kind = "card" if "card" in self._detector.kinds else None
            return self._placeholder(kind, digits) if kind else value
        return value

    def _kind_by_name(self, key: str, text: str) -> str | None:
        kinds = self._detector.kinds
        if "key" in kinds and text and SECRET_FIELD.search(key):
            return "key"
        if (
            "phone" in kinds
            and PHONE_FIELD.search(key)
            and 7 <= sum(map(str.isdigit, text)) <= 15
            and len(text) < 40
        ):
            return "phone"
        return None

    def text(self, text: str) -> str:
        """A text with placeholders in it."""
        if text.startswith("data:") and len(text) > 1_000:
            return text  # a picture or a sound, written as letters
        finds = self._detector.find(text)
        if not finds:
            return text
        parts, end = [], 0
        for find in finds:
            parts += [text[end : find.start], self._placeholder(find.kind, text[find.start : find.end])]
            end = find.end
        parts.append(text[end:])
        return "".join(parts)

    def _placeholder(self, kind: str, text: str) -> str:
        same = (
            text.casefold()
            if kind in ("email", "name")
            else _bare(text)
            if kind in ("card", "phone")
            else text
        )
        known = self._placeholders.get((kind, same))
        if known is None:
            self._numbers[kind] += 1
            known = self._placeholders[kind, same] = f"[{kind.upper()}_{self._numbers[kind]}]"
        self._replaced += 1
        self.counts[kind] += 1
        return known


def _bare(text: str) -> str:
    """A number's digits: it is the same one however it is grouped."""
    return "".join(character for character in text if character.isdigit())


def _without_spelling(payload: Any) -> Any:
    if not isinstance(payload, Mapping) or not isinstance(payload.get("choices"), list):
        return payload
    choices = [
        {**choice, **dict.fromkeys(_SAID_ANEW & choice.keys())} if isinstance(choice, dict) else choice
        for choice in payload["choices"]
    ]
    return {**payload, "choices": choices}

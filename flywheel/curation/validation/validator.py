"""One logged call to a verdict: usable, or refused with a reason.

Each record is judged by itself: a workload may mix tool calls and plain answers, any number of tools with any
number of parameters, and none.
"""

from __future__ import annotations

import msgspec

from flywheel.config import ValidationConfig
from flywheel.curation.validation.rules import RuleBroken, check_answer, check_messages, parsed_calls
from flywheel.curation.validation.tool_schemas import ToolSchemas
from flywheel.curation.validation.verdicts import Drop, Keep
from flywheel.errors import DataError
from flywheel.records.messages import ToolCall
from flywheel.records.openings import Openings
from flywheel.records.timestamps import to_seconds

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode = msgspec.json.Decoder().decode
_NOT_ALL = {"incomplete": "incomplete_answer", "truncated": "cut_payload"}
"""Fields by which an exporter says that the payloads are not all there, and the reason that each is refused with."""


class Validator:
    """Judges records under one set of settings; remembers the tools' schemas and the settings it has met."""

    def __init__(self, config: ValidationConfig) -> None:
        self._config = config
        self._schemas = ToolSchemas()
        self._openings = Openings()

    def judge(self, request: bytes | None, response: bytes | None, extra: bytes | None = None) -> Keep | Drop:
        """The verdict on a record.

        Args:
            request, response: JSON objects as logged; None where the log has none.
            extra: JSON object of what the log line held beside the known fields; None where nothing.
        """
        try:
            if extra is not None:
                _check_extra(extra)
            if request is None:
                raise RuleBroken("missing_request", "the record has no request object")
            if response is None:
                raise RuleBroken("missing_response", "the record has no response object")
            return self._usable(request, response)
        except RuleBroken as broken:
            return Drop(broken.reason, broken.detail)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Drop("not_json", f"request or response is not a JSON object: {error}")

    def _usable(self, request: bytes, response: bytes) -> Keep:
        said, frame, opening = self._openings.take_apart(request)
        messages = check_messages(said, 0 if opening is None else len(opening.messages))
        if frame.misfit is not None:
            raise RuleBroken("bad_tools", f"request.{frame.misfit} is no list of tools, each with its name")
        decoded = _decode(response)
        if not isinstance(decoded, dict):
            raise RuleBroken("missing_response", "the response is not an object")
        choice = check_answer(decoded, refuse_truncated=self._config.refuse_truncated)
        choices = decoded["choices"]
        answer = choices[choice]["message"]
        calls = parsed_calls(answer)
        violations, unusable = self._check_schemas(frame.offered, calls)
        return Keep(
            messages, frame, opening, decoded, choice, len(choices), answer, calls, violations, unusable
        )

    def _check_schemas(self, tools: bytes | None, calls: list[ToolCall]) -> tuple[list[str], list[str]]:
        if not self._config.check_tool_arguments and not self._config.refuse_schema_violations:
            return [], []
        if tools is None or not calls:
            return [], []
        violations, unusable = self._schemas.check(tools, calls)
        if violations and self._config.refuse_schema_violations:
            raise RuleBroken("arguments_break_schema", "; ".join(violations))
        return violations, unusable


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"


def _check_extra(extra: bytes) -> None:
    """Extraction puts a time that it could not read beside the unknown fields; here it gets its reason.

    So do calls of which an exporter says that it did not log all.
    """
    beside = _fields.decode(extra)
    for field, reason in _NOT_ALL.items():
        if field in beside and (said := _decode(beside[field])):
            raise RuleBroken(reason, f"the exporter says that {field} is {_shown(said)}")
    misfit = beside.get("timestamp")
    if misfit is not None:
        try:
            to_seconds(_decode(misfit))
        except DataError as error:
            raise RuleBroken("bad_timestamp", str(error)) from error

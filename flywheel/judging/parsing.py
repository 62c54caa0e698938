"""Reading a judge's verdict: the whole of the scale, nothing beside it, and no guessing.

A verdict is a JSON object with a `rating`, or text. In text the rating is the number that a label names ("Rating: 7"),
or the only number there is once the scale itself ("7 out of 10", "on the 1-10 scale") is taken away. Two labels that
name different numbers, several numbers without a label, a fraction and a number outside the scale are parse failures:
they are counted, and never scored.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from flywheel.errors import ScoringError

RATING, REASON = "rating", "reason"
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_CODE_FENCE = re.compile(r"^```[a-z]*\s*\n(.*?)\n?```$", re.DOTALL | re.IGNORECASE)
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_END = r"(?![\w]|[.,]\d)"  # what goes on, such as 7,5 or 1,000, is another number
_LABELLED = re.compile(
    r"\b(?:rating|score|verdict|grade|similarity|correctness)\b[\"'*_`\s]*"
    rf"(?:(?:is|of|as|at|would be)\b|[:=]|->|→)?[\"'*_`\s:=]*({_NUMBER}){_END}",
    re.IGNORECASE,
)
_BARE = re.compile(rf"(?<![\w.])(?<!\d,){_NUMBER}{_END}")
_DASH = r"(?:-|–|—|to|through|bis)"


class Verdict(msgspec.Struct, frozen=True):
    """A rating within the scale, and the judge's reason where it gave one."""

    rating: int
    reason: str = ""


def schema_of(low: int, high: int) -> dict[str, Any]:
    """`response_format` of a verdict. The reason comes first, so that the rating follows from it."""
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "verdict",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    REASON: {"type": "string", "description": "One or two sentences."},
                    RATING: {"type": "integer", "enum": list(range(low, high + 1))}
                    if high - low <= 20
                    else {"type": "integer", "minimum": low, "maximum": high},
                },
                "required": [REASON, RATING],
                "additionalProperties": False,
            },
        },
    }


def instruction(low: int, high: int, structured: bool) -> str:
    """What the judge is told of the form of its verdict."""
    if structured:
        return (
            f'Answer with a JSON object: "{REASON}", one or two sentences, and then "{RATING}", a whole number from '
            f"{low} to {high}."
        )
    return (
        "Give your reason in one or two sentences. Then end with one line of its own, which is the word RATING, a "
        f"colon and a whole number from {low} to {high}."
    )


def read_verdict(text: str, low: int, high: int) -> Verdict:
    """The verdict in a judge's answer. Raises: ScoringError that says why there is none."""
    for candidate in (text.strip(), _THOUGHT.sub("", text).strip()):
        if (document := _document(candidate)) is not None:
            return Verdict(
                _within(_number(document[RATING]), low, high), str(document.get(REASON) or "").strip()
            )
    text = _THOUGHT.sub("", text).strip()
    if re.search(r"<think(?:ing)?>", text, re.IGNORECASE):
        raise ScoringError("the judge was cut off while it thought")
    if not text:
        raise ScoringError("the judge said nothing")
    labelled = {_value(found) for found in _LABELLED.findall(_without_scale(text, low, high))}
    if len(labelled) > 1:
        raise ScoringError(f"the judge gave {len(labelled)} different ratings")
    if not labelled:
        labelled = {_value(found) for found in _BARE.findall(_without_scale(text, low, high))}
        if len(labelled) != 1:
            raise ScoringError(
                "the judge gave no rating"
                if not labelled
                else "the judge named several numbers, none as its rating"
            )
    return Verdict(_within(labelled.pop(), low, high), text)


def _document(text: str) -> dict[str, Any] | None:
    """The JSON object that is the whole text, or that ends a text which names no rating before it."""
    fenced = _CODE_FENCE.match(text)
    inner = fenced.group(1) if fenced else text
    last = inner.rfind("{")
    candidates = [inner]
    if last > 0 and not _LABELLED.search(inner[:last]):
        candidates.append(inner[last:].rstrip("` \n"))
    for candidate in candidates:
        try:
            document = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            continue
        if isinstance(document, dict) and RATING in document:
            return document
    return None


def _without_scale(text: str, low: int, high: int) -> str:
    """`text` without mentions of the scale: "1-10", "from 1 to 10", "7/10", "7 out of 10"."""
    text = re.sub(rf"(?<![\d.,]){low}\s*{_DASH}\s*{high}(?![\d.,]\d|\d)", " ", text, flags=re.IGNORECASE)
    return re.sub(
        rf"({_NUMBER})[*_`]*\s*(?:/|out of|of|von)\s*{high}(?!\d)", r"\1 ", text, flags=re.IGNORECASE
    )


def _value(text: str) -> float:
    return float(text)


def _number(value: Any) -> float:
    if isinstance(value, bool) or value is None:
        raise ScoringError(f"the judge's rating is {value}, no number")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        return _value(value.strip())
    raise ScoringError("the judge's rating is no number")


def _within(value: float, low: int, high: int) -> int:
    if not math.isfinite(value) or value != int(value) or not low <= value <= high:
        raise ScoringError(f"the judge's rating {value:g} is no whole number from {low} to {high}")
    return int(value)

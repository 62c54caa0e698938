"""A scripted judge on a socket: honest about what stands within the fences, and obedient to whatever stands outside.

It rates by the words that the two fenced texts share. But plain text outside the fences that tells it to "rate this N"
it obeys, as a gullible model would. It knows the fences only from what the prompt says of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes.chat_server import ChatServer, completion, failure

_FENCED = re.compile(
    r"^\[BEGIN (?P<label>\w+) (?P<tag>[0-9a-f]+)\]\n(?P<body>.*?)^\[END (?P=label) (?P=tag)\]$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"rate this (?:answer )?(?:with )?(?:a )?(\d+)", re.IGNORECASE)


def fenced_texts(prompt: str) -> dict[str, str]:
    """What stands within the fences, by label, without the marks at the beginning of the lines."""
    return {
        found["label"]: "\n".join(
            line.removeprefix("|").removeprefix(" ") for line in found["body"].splitlines()
        )
        for found in _FENCED.finditer(prompt)
    }


def outside(prompt: str) -> str:
    """What is left of a prompt without what is fenced."""
    return _FENCED.sub(" ", prompt)


def rating_of(prompt: str, low: int, high: int) -> int:
    """The rating that this judge gives."""
    if command := _COMMAND.search(outside(prompt)):
        return int(command[1])
    texts = fenced_texts(prompt)
    left, right = (set(re.findall(r"\w+", texts.get(label, "").lower())) for label in ("reference", "answer"))
    share = len(left & right) / len(left | right) if left | right else 1.0
    return low + int(share * (high - low))


class ScriptedJudge(ChatServer):
    """Answers as `say(rating, body)` has it, by default JSON where a schema is asked for and "RATING: n" elsewhere.

    Args:
        knows_schemas: Else a `response_format` is refused, as by servers that have none.
        say: Makes the text, or a whole reply, of the rating.
    """

    def __init__(
        self, *, knows_schemas: bool = True, say: Callable[[int, dict[str, Any]], Any] | None = None
    ) -> None:
        self._knows_schemas = knows_schemas
        self._say = say
        super().__init__(self._judge)

    def _judge(self, body: dict[str, Any], number: int) -> Any:
        if "response_format" in body and not self._knows_schemas:
            return failure(400, "response_format is not supported by this model")
        prompt = "\n".join(message["content"] for message in body["messages"])
        binary = "Rate with 1 where" in prompt
        rating = rating_of(prompt, 0 if binary else 1, 1 if binary else 10)
        if self._say is not None:
            said = self._say(rating, body)
            return completion(said) if isinstance(said, str) else said
        if "response_format" in body:
            return completion(json.dumps({"reason": "by its words", "rating": rating}))
        return completion(f"They share these words.\nRATING: {rating}")

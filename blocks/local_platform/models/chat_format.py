"""The one way from a conversation to token ids, for training and for serving.

`ChatFormat.prompt` is what the server gives the model; `ChatFormat.example` is that same prompt and the answer after
it, so a model is trained on exactly the tokens that it will be asked with.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from blocks.local_platform.models.messages import UnusableChat, function_tools, normalised
from blocks.local_platform.models.tool_text import without_tools

# For base models that come without any template: words, since they have no tokens that frame a turn.
PLAIN_TEMPLATE = (
    "{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
FIRST_STAND_IN = 0xF0000
"""Private-use characters stand for what looks like a special token in somebody's text, while a template is rendered."""


class Example(NamedTuple):
    """One training row in tokens: loss is on `answer` alone, which ends with the end-of-turn token."""

    prompt: list[int]
    answer: list[int]


class ChatFormat:
    """Template and tokenizer of one model.

    Args:
        folder: With tokenizer.json, config.json, and a chat template if the model has one.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = _json(folder / "tokenizer_config.json")
        self._variables = {
            name: value if isinstance(value, str) else value.get("content", "")
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if isinstance(value := settings.get(name), str | dict)
        }
        self._variables.setdefault("bos_token", "")
        self._variables.setdefault("eos_token", "")
        self._template = _template(folder, settings)
        self.renders_tools = bool(re.search(r"\btools\b", self._template))
        self._reserved = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._reserved_pattern = _any_of(self._reserved)
        self._stop_ids = self._find_stop_ids(folder)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._stop_ids

    def prompt(self, messages: Any, tools: Any = None) -> list[int]:
        """Token ids of a request up to where the answer begins. Raises: UnusableChat."""
        text, literal = self._render(normalised(messages), function_tools(tools), answer_follows=True)
        return self._encode(text, literal)

    def prompt_text(self, messages: Any, tools: Any = None) -> str:
        """The text behind `prompt`, for people."""
        text, literal = self._render(normalised(messages), function_tools(tools), answer_follows=True)
        return "".join(literal.get(char, char) for char in text)

    def example(self, messages: Any, tools: Any = None) -> Example:
        """Prompt and answer of a training row; its last message is the answer.

        Raises: UnusableChat, also where the template renders a finished answer differently from a prompt plus answer.
        """
        chat, functions = normalised(messages), function_tools(tools)
        if chat[-1]["role"] != "assistant" or len(chat) < 2:
            raise UnusableChat("a training row must end with an assistant message and have one before it.")
        # Both are rendered from one guarded chat: the same stand-ins in both.
        (prompt_text, literal), (whole_text, _) = (
            self._render(chat[:-1], functions, answer_follows=True, guard_like=chat),
            self._render(chat, functions, answer_follows=False),
        )
        if not whole_text.startswith(prompt_text):
            raise UnusableChat("the model's chat template rewrites the prompt once the answer is there.")
        prompt = self._encode(prompt_text, literal)
        whole = self._encode(whole_text, literal)
        continues = whole[: len(prompt)] == prompt
        answer = whole[len(prompt) :] if continues else self._encode(whole_text[len(prompt_text) :], literal)
        return Example(prompt, self._ended(answer))

    def encode_text(self, text: str) -> list[int]:
        """Token ids of text that goes on inside an answer; reserved strings in it are meant as tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of an answer without the tokens that end it; other special tokens stay visible."""
        kept = [number for number in ids if number not in self._stop_ids]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))

    def _ended(self, answer: list[int]) -> list[int]:
        ends = [position for position, number in enumerate(answer) if number in self._stop_ids]
        if ends:
            return answer[: ends[-1] + 1]
        if not self._stop_ids:
            raise UnusableChat("the model has no end-of-text token, so it cannot learn where to stop.")
        preferred = self._tokenizer.token_to_id(self._variables["eos_token"])
        return [*answer, preferred if preferred is not None else min(self._stop_ids)]

    def _render(
        self,
        chat: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        answer_follows: bool,
        guard_like: list[dict[str, Any]] | None = None,
    ) -> tuple[str, dict[str, str]]:
        """The rendered text, and what each stand-in character in it stands for."""
        literal = self._stand_ins(json.dumps([guard_like or chat, tools], ensure_ascii=False))
        guarded_chat, guarded_tools = self._guard(chat, literal), self._guard(tools, literal)
        if not self.renders_tools:
            guarded_chat, guarded_tools = without_tools(guarded_chat, guarded_tools), []
        try:
            text = self._apply(guarded_chat, guarded_tools, answer_follows)
        except UnusableChat:
            folded = _system_folded_in(guarded_chat)  # some templates refuse the system role
            if folded is None:
                raise
            text = self._apply(folded, guarded_tools, answer_follows)
        return text, literal

    def _apply(self, chat: list[dict[str, Any]], tools: list[dict[str, Any]], answer_follows: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                _compiled(self._template).render(
                    messages=chat,
                    tools=tools or None,
                    documents=None,
                    add_generation_prompt=answer_follows,
                    enable_thinking=False,  # what is distilled is the answer that was logged
                    **self._variables,
                )
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise UnusableChat(f"the model's chat template refuses this conversation: {error}") from error

    def _stand_ins(self, everything: str) -> dict[str, str]:
        """Stand-in character -> reserved string, for those that occur; characters that occur nowhere in the input."""
        if self._reserved_pattern is None:
            return {}
        first = FIRST_STAND_IN
        size = len(self._reserved)
        while any(first <= ord(char) < first + size for char in everything):
            first += size
        return {chr(first + position): text for position, text in enumerate(self._reserved)}

    def _guard(self, value: Any, literal: dict[str, str]) -> Any:
        if isinstance(value, str):
            if self._reserved_pattern is None:
                return value
            stand_in = {text: char for char, text in literal.items()}
            return self._reserved_pattern.sub(lambda match: stand_in[match.group()], value)
        if isinstance(value, list):
            return [self._guard(part, literal) for part in value]
        if isinstance(value, dict):
            return {self._guard(key, literal): self._guard(part, literal) for key, part in value.items()}
        return value

    def _encode(self, text: str, literal: dict[str, str]) -> list[int]:
        ids: list[int] = []
        pattern = _any_of(literal)
        for piece in pattern.split(text) if pattern else [text]:
            if piece in literal:  # cut in two, it is no special token any more
                spelled = literal[piece]
                ids += self.encode_text(spelled[:1]) + self.encode_text(spelled[1:])
            elif piece:
                ids += self.encode_text(piece)
        return ids

    def _find_stop_ids(self, folder: Path) -> frozenset[int]:
        ids: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            stated = _json(folder / name).get("eos_token_id")
            ids |= {
                number
                for number in (stated if isinstance(stated, list) else [stated])
                if isinstance(number, int)
            }
        for text in (
            self._variables["eos_token"],
            "<|im_end|>",
            "<|eot_id|>",
            "<|end|>",
            "<end_of_turn>",
            "<|endoftext|>",
        ):
            number = self._tokenizer.token_to_id(text) if text else None
            if number is not None:
                ids.add(number)
        return frozenset(ids)


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    return _compile_jinja_template(template)


def _any_of(texts: Any) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None


def _system_folded_in(chat: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The system message as the beginning of the first user message; None where there is nothing to fold."""
    if len(chat) < 2 or chat[0]["role"] != "system" or chat[1]["role"] != "user":
        return None
    return [{**chat[1], "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}, *chat[2:]]


def _template(folder: Path, settings: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    stated = settings.get("chat_template")
    if isinstance(stated, list):  # several named ones
        named = {part.get("name"): part.get("template") for part in stated if isinstance(part, dict)}
        stated = named.get("tool_use") or named.get("default")
    return stated if isinstance(stated, str) else PLAIN_TEMPLATE


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}

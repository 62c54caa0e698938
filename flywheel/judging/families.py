"""Whether two models are of one family: a judge tends to like the answers of its own kind.

Source: Panickssery, Bowman and Feng 2024, "LLM evaluators recognize and favor their own generations",
arXiv:2404.13076.
"""

from __future__ import annotations

import re

KNOWN = {
    "llama": "llama",
    "nemotron": "nemotron",
    "mistral": "mistral",
    "mixtral": "mistral",
    "ministral": "mistral",
    "codestral": "mistral",
    "magistral": "mistral",
    "devstral": "mistral",
    "qwen": "qwen",
    "qwq": "qwen",
    "gpt": "gpt",
    "chatgpt": "gpt",
    "claude": "claude",
    "gemma": "gemini",
    "gemini": "gemini",
    "phi": "phi",
    "deepseek": "deepseek",
    "smollm": "smollm",
    "granite": "granite",
    "command": "command",
    "aya": "command",
    "grok": "grok",
    "yi": "yi",
    "glm": "glm",
    "chatglm": "glm",
    "olmo": "olmo",
    "falcon": "falcon",
    "kimi": "kimi",
    "minimax": "minimax",
    "jamba": "jamba",
    "nova": "nova",
    "o1": "gpt",
    "o3": "gpt",
    "o4": "gpt",
}
"""Names in model names, and the family each stands for. One model may be of two."""


def families(model: str) -> frozenset[str]:
    """The families that a model's name tells of; the first word of the name where none is known.

    "meta/llama-3.1-nemotron-70b" is of both llama and nemotron.
    """
    name = model.rsplit("/", 1)[-1].lower()
    words = re.findall(r"[a-z]+(?:\d(?!\d))?|\d+", name)
    found = {KNOWN[stem] for word in words for stem in (word, word.rstrip("0123456789")) if stem in KNOWN}
    if not found:
        first = next((word.rstrip("0123456789") for word in words if word[0].isalpha()), "")
        found = {first} if first else set()
    return frozenset(found)


def same_family(first: str, second: str) -> bool:
    """Whether two model names share a family."""
    return bool(families(first) & families(second))

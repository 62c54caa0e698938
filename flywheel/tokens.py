"""Counting tokens without asking a model."""

from __future__ import annotations

from typing import Protocol


class TokenCounter(Protocol):
    """Counts the tokens of a text for one model family."""

    name: str

    @property
    def exact(self) -> bool:
        """Whether the count is this model's own, not an upper bound or another family's."""

    def count(self, text: str) -> int:
        """Number of tokens in `text`, 0 for an empty one."""

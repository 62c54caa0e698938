"""Keeps the questions of the sample apart, so that the near-repeats in it are the planted ones."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from flywheel.sample.calls import Call

MOST_SHARED = 0.5
"""Share of word 4-grams from which two questions are too close."""


def text_of(call: Call) -> str:
    """What the customer wrote last."""
    return str(call.messages[-1]["content"])


class DistinctCalls:
    """Lets a text pass when no earlier one shares half of its word 4-grams.

    Questions made from the same phrases would else be near-repeats of each other, which nobody planted.
    """

    def __init__(self) -> None:
        self._seen: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._sizes: list[int] = []

    def take(self, count: int, make: Callable[[], Call]) -> list[Call]:
        """So many calls whose texts pass."""
        return [self.conversation(lambda: [make()])[0] for _ in range(count)]

    def conversation(self, make: Callable[[], Iterable[Call]]) -> list[Call]:
        """The calls of a conversation whose first text passes."""
        for _ in range(10_000):
            calls = list(make())
            if self._passes(text_of(calls[0])):
                return calls
        raise ValueError("the phrases do not yield enough distinct questions")

    def _passes(self, text: str) -> bool:
        words = re.findall(r"\w+", text.lower())
        grams = {tuple(words[start : start + 4]) for start in range(len(words) - 3)}
        shared: defaultdict[int, int] = defaultdict(int)
        for gram in grams:
            for earlier in self._seen.get(gram, ()):
                shared[earlier] += 1
        if any(
            count > MOST_SHARED * min(len(grams), self._sizes[earlier]) for earlier, count in shared.items()
        ):
            return False
        for gram in grams:
            self._seen[gram].append(len(self._sizes))
        self._sizes.append(len(grams))
        return True

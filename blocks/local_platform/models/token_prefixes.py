"""What token sequences have in common at their beginning."""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST_WORTHWHILE = 16
"""Tokens that a shared prefix must have before sharing it pays."""


def shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of equal tokens at the beginning of both."""
    length = min(len(first), len(second))
    low, high = 0, length  # slices compare in C: halving beats walking
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_prefix(prompts: Sequence[list[int]]) -> int:
    """Number of tokens that all prompts begin with, leaving each at least one token of its own."""
    if not prompts:
        return 0
    smallest, largest = min(prompts), max(prompts)  # in lexical order, what these two share all share
    length = shared_length(smallest, largest)
    return min(length, min(map(len, prompts)) - 1)


def families(prompts: Sequence[list[int]], head: int = 48) -> list[list[int]]:
    """Positions of prompts grouped by their first `head` tokens; those that share with nobody are one last group."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt[:head]), []).append(position)
    together = [group for group in groups.values() if len(group) > 1]
    alone = [group[0] for group in groups.values() if len(group) == 1]
    return [*together, alone] if alone else together

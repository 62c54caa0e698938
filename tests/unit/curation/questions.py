"""Distinct questions for tests: no two are near-duplicates unless one is made from the other."""

from __future__ import annotations

import random

SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvw" for vowel in "aeiou"]


def word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def question(seed: int, words: int | None = None) -> str:
    """A question of its own for each seed, of 12 to 40 words."""
    rng = random.Random(seed)
    return " ".join(word(rng) for _ in range(words or rng.randint(12, 40)))


def edited(text: str, seed: int) -> str:
    """The same with one word of it changed."""
    rng = random.Random(seed)
    words = text.split()
    words[rng.randrange(len(words))] = word(rng)
    return " ".join(words)


def shingles(text: str, size: int) -> set[bytes]:
    """The definition, for comparison."""
    data = text.encode()
    if len(data) < size:
        return {data} if data else set()
    return {data[place : place + size] for place in range(len(data) - size + 1)}


def true_jaccard(one: str, other: str, size: int = 5) -> float:
    a, b = shingles(one, size), shingles(other, size)
    return len(a & b) / len(a | b) if a and b else 0.0

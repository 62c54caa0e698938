"""Which examples stand before which item.

Both methods pass over an example that is no fit (too long for what is left, a near-copy of the item, a call
to a tool that the item does not offer) and go on to the next; neither stops at it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from flywheel.config import IclConfig
from flywheel.datasets.embedding import Embedder, closeness
from flywheel.datasets.example_pool import ExamplePool, tools_of
from flywheel.datasets.neighbours import Neighbours, Ranked, Searched, VectorSearch
from flywheel.datasets.similarity import Floats, Hashes, LexicalIndex, jaccard, shingles
from flywheel.progress import Progress, silent

BLOCK = 64  # items whose similarities to the whole pool are in memory at once


class Item:
    """An evaluation item as selection sees it."""

    def __init__(
        self,
        record_id: str,
        cluster: str,
        text: str,
        tools: frozenset[str],
        budget: int,
        own_text: str | None = None,
    ) -> None:
        """
        Args:
            tools: Names of the tools that the item offers.
            budget: Tokens left for examples.
            own_text: What of the text tells the item from others; None is all of it.
        """
        self.record_id = record_id
        self.cluster = cluster
        self.text = text
        self.tools = tools
        self.budget = budget
        self.has_vector = True
        """False once an embedder has refused its text: then nothing is known to be close to it."""
        self.shingles: Hashes = shingles(text if own_text is None else own_text)


def select(
    items: Sequence[Item],
    pool: ExamplePool,
    config: IclConfig,
    seed: int,
    embedder: Embedder | None = None,
    progress: Progress = silent,
    search: VectorSearch | None = None,
) -> Generator[list[int], None, None]:
    """Yield for each item the pool's positions of its examples, in the order in which they should stand.

    Args:
        embedder: Says what is close; None compares texts by their characters.
        search: Searches the vectors; None compares each with each, here.
    """
    if config.example_selection == "uniform_distribution":
        yield from _select_uniform(items, pool, config, seed)
        return
    if embedder is None:
        seen = _ranked(_lexical(items, pool), pool)
    else:
        seen = _embedded(items, pool, embedder, progress, search)
    with closing(seen):
        for item, neighbours in zip(items, seen, strict=True):
            yield _closest_and_cover(item, neighbours, pool, config)


def relevant_quota(max_examples: int, relevance_ratio: float) -> int:
    """How many examples are chosen by closeness: the nearest whole number, halves up, at least one."""
    return min(max_examples, max(1, math.floor(max_examples * relevance_ratio + 0.5)))


def _lexical(items: Sequence[Item], pool: ExamplePool) -> Iterator[Floats]:
    index = LexicalIndex(pool.texts)
    for start in range(0, len(items), BLOCK):
        yield index.similarities([item.text for item in items[start : start + BLOCK]])


def _ranked(blocks: Iterable[Floats], pool: ExamplePool) -> Generator[Neighbours, None, None]:
    for block in blocks:
        for row in block:
            yield Ranked(row, pool.classes)


def _embedded(
    items: Sequence[Item],
    pool: ExamplePool,
    embedder: Embedder,
    progress: Progress,
    search: VectorSearch | None,
) -> Generator[Neighbours, None, None]:
    passages = embedder.embed(pool.texts, "passage", progress)
    queries = embedder.embed([item.text for item in items], "query", progress)
    for item, query in zip(items, queries, strict=True):
        item.has_vector = not np.isnan(query[0])
    if search is None:
        starts = range(0, len(items), BLOCK)
        yield from _ranked((closeness(queries[start : start + BLOCK], passages) for start in starts), pool)
        return
    with search.index(passages, pool.classes) as index:
        for item, query in zip(items, queries, strict=True):
            of_offered_tools = {name for name in set(pool.classes) if tools_of(name) <= item.tools}
            yield Searched(partial(index.nearest, query), of_offered_tools if item.has_vector else ())


def _closest_and_cover(item: Item, neighbours: Neighbours, pool: ExamplePool, config: IclConfig) -> list[int]:
    """The closest examples, then the closest of tools not yet shown; the closest of all stands last.

    When no tool is left to show, the next closest fill the places: the number of examples is exact if the
    pool and the budget allow it. What has no vector is not close to anything.
    """
    choice = _Choice(item, pool, config)
    choice.take(neighbours.closest(), relevant_quota(config.max_examples, config.relevance_ratio))
    shown = {pool.classes[taken] for taken in choice.taken}
    choice.take(
        neighbours.closest(without=shown),
        config.max_examples,
        lambda position: _shows_more(position, choice, pool),
    )
    choice.take(neighbours.closest(), config.max_examples)
    return sorted(choice.taken, key=lambda position: (neighbours.closeness(position), -position))


def _shows_more(position: int, choice: _Choice, pool: ExamplePool) -> bool:
    return pool.classes[position] not in {pool.classes[taken] for taken in choice.taken}


def _select_uniform(
    items: Sequence[Item], pool: ExamplePool, config: IclConfig, seed: int
) -> Iterator[list[int]]:
    """Classes take turns, those shown least so far first; within a class each item draws its own examples."""
    members: dict[str, list[int]] = {}
    for position, name in enumerate(pool.classes):
        members.setdefault(name, []).append(position)
    shown: Counter[str] = Counter()
    for item in items:
        random = np.random.default_rng(_number(seed, item.record_id))
        drawn = {name: iter(random.permutation(members[name]).tolist()) for name in sorted(members)}
        tie = {name: _number(seed, item.record_id, name) for name in members}
        choice = _Choice(item, pool, config)
        here: Counter[str] = Counter()
        while drawn and len(choice.taken) < config.max_examples:
            name = min(drawn, key=lambda n: (here[n], shown[n], tie[n]))
            if choice.take_one(drawn[name]):
                here[name] += 1
                shown[name] += 1
            else:
                del drawn[name]
        yield choice.taken


class _Choice:
    """The examples taken for one item so far."""

    def __init__(self, item: Item, pool: ExamplePool, config: IclConfig) -> None:
        self.taken: list[int] = []
        self._item = item
        self._pool = pool
        self._config = config
        self._left = item.budget
        self._clusters = {item.cluster}
        self._unfit: set[int] = set()

    def take(
        self, positions: Iterable[int], up_to: int, wanted: Callable[[int], bool] = lambda position: True
    ) -> None:
        """Take the first that fit and are wanted, until `up_to` are taken in all; no more are looked at."""
        if len(self.taken) >= up_to or self._left <= 0:
            return
        for position in positions:
            if position not in self._unfit and wanted(position):
                self._try(position)
                if len(self.taken) >= up_to or self._left <= 0:
                    return

    def take_one(self, positions: Iterator[int]) -> bool:
        """Take the first that fits; False when none does."""
        return any(self._try(position) for position in positions)

    def _try(self, position: int) -> bool:
        pool, item = self._pool, self._item
        fits = (
            position not in self._unfit
            # one example of a group of near-duplicates says all that the group has to say
            and pool.clusters[position] not in self._clusters
            and pool.tools[position] <= item.tools
            and pool.tokens(position) <= self._left
            and jaccard(pool.shingles(position), item.shingles) < self._config.max_similarity
        )
        self._unfit.add(position)
        if fits:
            self.taken.append(position)
            self._left -= pool.tokens(position)
            self._clusters.add(pool.clusters[position])
        return fits


def _number(*parts: Any) -> int:
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")

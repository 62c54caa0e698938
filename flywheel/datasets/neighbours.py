"""What is close to one item, closest first: ranked here, or by a search that gives as many as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from flywheel.datasets.similarity import Floats

FIRST_ASKED = 64
"""Neighbours that a search is asked for first; where they do not do, it is asked for four times as many."""

Hit = tuple[int, float]
"""A position in the pool, and its cosine."""


class VectorIndex(Protocol):
    """Vectors that can be searched."""

    def nearest(self, query: Floats, classes: Collection[str], most: int) -> list[Hit]:
        """The closest vectors of these classes, at most `most`; all of them where there are fewer."""


class VectorSearch(Protocol):
    """Something that searches vectors."""

    def index(self, vectors: Floats, classes: Sequence[str]) -> AbstractContextManager[VectorIndex]:
        """Make vectors searchable inside the block.

        Args:
            vectors: Unit vectors, shape (pool, dimensions); a row of NaN is found by nothing.
            classes: The answer class of each.
        Raises: RemoteError.
        """


class Neighbours(Protocol):
    """The pool as one item sees it."""

    def closest(self, without: Collection[str] = ()) -> Iterator[int]:
        """Positions of the pool from the closest on, those of equal closeness in their order.

        Args:
            without: Answer classes to leave out.
        """

    def closeness(self, position: int) -> float:
        """Cosine of a position that `closest` gave."""


class Ranked:
    """The closeness of the whole pool is known."""

    def __init__(self, to_pool: Floats, classes: Sequence[str]) -> None:
        """
        Args:
            to_pool: Closeness to each position, shape (pool,); one that is no number is close to nothing.
        """
        self._to_pool = to_pool
        self._classes = classes
        self._order = _order(to_pool)

    def closest(self, without: Collection[str] = ()) -> Iterator[int]:
        """See `Neighbours`."""
        return (position for position in self._order if self._classes[position] not in without)

    def closeness(self, position: int) -> float:
        """See `Neighbours`."""
        return float(self._to_pool[position])


class Searched:
    """A search is asked for the closest, for more of them as they are wanted."""

    def __init__(
        self, nearest: Callable[[Collection[str], int], list[Hit]], classes: Collection[str]
    ) -> None:
        """
        Args:
            nearest: Takes the classes to look among, and how many to find.
            classes: The classes that come into question at all.
        """
        self._nearest = nearest
        self._classes = classes
        self._known: dict[int, float] = {}

    def closest(self, without: Collection[str] = ()) -> Iterator[int]:
        """See `Neighbours`."""
        wanted = sorted(set(self._classes) - set(without))
        given: set[int] = set()
        most = FIRST_ASKED
        while wanted:
            hits = self._nearest(wanted, most)
            self._known.update(hits)
            for position, _ in sorted(hits, key=lambda hit: (-hit[1], hit[0])):
                if position not in given:
                    given.add(position)
                    yield position
            if len(hits) < most:
                return
            most *= 4

    def closeness(self, position: int) -> float:
        """See `Neighbours`."""
        return self._known[position]


def _order(to_pool: Floats) -> list[int]:
    """Positions from the closest on, equal ones in their order, those that are no number left out; sorting whole
    keys gives the same on every machine.
    """
    known = np.flatnonzero(~np.isnan(to_pool))
    rank = (to_pool[known].astype(np.float64) * 2**30).astype(np.int64)
    keys = np.sort((-rank << 32) + known)
    order: list[int] = (keys & (2**32 - 1)).tolist()
    return order

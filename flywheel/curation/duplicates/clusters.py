"""Groups of nodes that edges connect, kept up to date as edges arrive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class Clusters:
    """Connected components over nodes 0 to n - 1: a union-find whose operations take arrays of pairs.

    The root of a component is its smallest node. (`scipy.sparse.csgraph` would do, and costs each process that
    curates 0.4 s of imports.) Source of the rounds: Shiloach and Vishkin 1982, An O(log n) Parallel Connectivity
    Algorithm.
    """

    def __init__(self, nodes: int) -> None:
        self._parents: Indices = np.arange(nodes, dtype=np.int64)

    def connect(self, first: Indices, second: Indices) -> None:
        """Add edges. The cost depends on these edges alone."""
        while True:
            first, second = self._roots(first), self._roots(second)
            apart = first != second
            if not apart.any():
                return
            first, second = first[apart], second[apart]
            # Each root goes below the smallest that an edge connects it with; edges that lost out try again.
            below = np.maximum(first, second)
            np.minimum.at(self._parents, below, np.minimum(first, second))
            self._shorten(below)

    def together(self, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Whether nodes are in one component, pair by pair."""
        return np.asarray(self._roots(first) == self._roots(second))

    @property
    def labels(self) -> Indices:
        """For each node the smallest node of its component, so it depends on the edges and not on their order."""
        return self._roots(np.arange(self._parents.size, dtype=np.int64))

    def _roots(self, nodes: Indices) -> Indices:
        self._shorten(nodes)
        return self._parents[nodes]

    def _shorten(self, nodes: Indices) -> None:
        """Put nodes right below their roots. Where all that hangs between is among them, each look doubles the step."""
        above = self._parents[nodes]
        while True:
            higher = self._parents[above]
            moved = np.flatnonzero(higher != above)
            if not moved.size:
                return
            nodes, above = nodes[moved], higher[moved]
            self._parents[nodes] = above

"""Groups of nodes that edges connect, kept up to date as edges arrive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Indices = npt.NDArray[np.int64]


class Clusters:
    """Connected components over nodes 0 to n - 1: a union-find whose operations take arrays of pairs."""

    def __init__(self, nodes: int) -> None:
        self._parents: Indices = np.arange(nodes, dtype=np.int64)

    def connect(self, first: Indices, second: Indices) -> None:
        """Add edges. The cost depends on these edges alone."""
        first, second = self._roots(first), self._roots(second)
        apart = first != second
        if not apart.any():
            return
        involved, places = np.unique(np.concatenate([first[apart], second[apart]]), return_inverse=True)
        half = places.size // 2
        edges = (np.ones(half, dtype=np.int8), (places[:half], places[half:]))
        count, components = connected_components(
            coo_array(edges, shape=(involved.size, involved.size)), directed=False
        )
        smallest = np.full(count, self._parents.size, dtype=np.int64)
        np.minimum.at(smallest, components, involved)
        self._parents[involved] = smallest[components]

    def together(self, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Whether nodes are in one component, pair by pair."""
        return np.asarray(self._roots(first) == self._roots(second))

    @property
    def labels(self) -> Indices:
        """For each node the smallest node of its component, so it depends on the edges and not on their order."""
        return self._roots(np.arange(self._parents.size, dtype=np.int64))

    def _roots(self, nodes: Indices) -> Indices:
        roots = self._parents[nodes]
        while True:
            above = self._parents[roots]
            if np.array_equal(above, roots):
                self._parents[nodes] = roots
                return roots
            roots = above

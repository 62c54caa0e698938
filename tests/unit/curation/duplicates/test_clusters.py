from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.duplicates.clusters import Clusters

EDGES = st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=6), max_size=4)


def components(edges: list[tuple[int, int]]) -> list[int]:
    labels = list(range(12))
    for _ in labels:
        for a, b in edges:
            labels[a] = labels[b] = min(labels[a], labels[b])
    return labels


@settings(deadline=None)
@given(EDGES)
def test_labels_are_the_smallest_node_of_each_component_whatever_came_first(
    batches: list[list[tuple[int, int]]],
) -> None:
    edges = [edge for batch in batches for edge in batch]
    forward, backward = Clusters(12), Clusters(12)
    for batch in batches:
        forward.connect(*np.array(batch, dtype=np.int64).reshape(-1, 2).T)
    for batch in reversed(batches):
        backward.connect(*np.array(batch, dtype=np.int64).reshape(-1, 2).T)
    assert forward.labels.tolist() == backward.labels.tolist() == components(edges)
    nodes = np.arange(11)
    assert (forward.together(nodes, nodes + 1) == (forward.labels[:-1] == forward.labels[1:])).all()


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_a_chain_of_a_hundred_thousand_is_one_component_and_its_links_are_not_walked_one_by_one(
    order: str,
) -> None:
    nodes = np.arange(100_000)
    if order == "shuffled":
        nodes = np.random.default_rng(1).permutation(nodes)
    chain = nodes[::-1] if order == "descending" else nodes
    clusters = Clusters(nodes.size)
    clusters.connect(chain[:-1], chain[1:])
    assert not clusters.labels.any()

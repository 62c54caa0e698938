"""Which requests are turns of one conversation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.curation.duplicates.clusters import Clusters
from flywheel.curation.validated_table import codes, hash_words, numbers

COLUMNS = ("conversation_id", "thread_hash", "prefix_hashes")


def connect_conversations(table: pa.Table, request_of: npt.NDArray[np.int64], clusters: Clusters) -> None:
    """Connect requests of one conversation id, and a request with those that continue it.

    A request continues another when it begins with the other's messages and answer. An earlier turn that was asked
    in several conversations word by word belongs to each of them, and so ties them together.

    Args:
        table: The columns `COLUMNS` of the validated table.
        request_of: The node of each row; -1 for a row to leave out.
    """
    conversation = codes(table["conversation_id"])
    rows = np.flatnonzero((conversation >= 0) & (request_of >= 0))
    _, first, member = np.unique(conversation[rows], return_index=True, return_inverse=True)
    clusters.connect(request_of[rows], request_of[rows[first[member]]])

    for child, parent in _continuations(table):
        known = (request_of[child] >= 0) & (request_of[parent] >= 0)
        clusters.connect(request_of[child[known]], request_of[parent[known]])


def _continuations(table: pa.Table) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows and the rows that they continue, for each chunk of the table."""
    threads = hash_words(table["thread_hash"])
    order = np.argsort(threads[:, 0])
    ascending = threads[order, 0]
    pairs, first = [], 0
    for chunk in table["prefix_hashes"].chunks:
        if not len(chunk.values):
            first += len(chunk)
            continue
        counts = numbers(chunk.value_lengths()).astype(np.int64)
        prefixes = hash_words(chunk.flatten())
        owners = np.repeat(np.arange(first, first + len(chunk)), counts)
        first += len(chunk)
        begin = np.searchsorted(ascending, prefixes[:, 0], side="left")
        end = np.searchsorted(ascending, prefixes[:, 0], side="right")
        matches = end - begin
        places = np.arange(matches.sum()) + np.repeat(begin - (np.cumsum(matches) - matches), matches)
        child, parent = np.repeat(owners, matches), order[places]
        same = threads[parent, 1] == np.repeat(prefixes[:, 1], matches)
        pairs.append((child[same], parent[same]))
    return pairs

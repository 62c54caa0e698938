"""Pairs of texts whose shingles have a Jaccard similarity at or above a threshold.

Texts that share a band of their MinHash signatures are compared: by their signatures first, and exactly where those
do not rule the pair out. So a pair that is reported is one (no false alarm), and a pair at the threshold is missed
about once in a thousand; more similar ones practically never.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flywheel.config import DedupConfig
from flywheel.curation.duplicates.clusters import Clusters
from flywheel.curation.duplicates.minhash import Keys, Signatures, estimated_similarity
from flywheel.curation.texts.jaccard import jaccard
from flywheel.curation.texts.shingles import Bytes, Indices, Words, mix

Flags = npt.NDArray[np.bool_]
Similarities = npt.NDArray[np.float32]

SMALL_BUCKET = 12
MOST_ROUNDS = 12


class Texts(NamedTuple):
    """Conversations, best representative first.

    Text i is `data[starts[i]:ends[i]]`, UTF-8; its last message begins at `last[i]`. `merge_key` is equal for those
    that may be merged at all; `one_message` says that there is nothing but the last message.
    """

    data: Bytes
    starts: Indices
    ends: Indices
    last: Indices
    one_message: Flags
    merge_key: Indices
    signatures: Signatures
    band_keys: Keys


class Merge(NamedTuple):
    """Text `member` is a near-duplicate of `representative` and may be left out for it; each of shape (merges,)."""

    member: Indices
    representative: Indices
    similarity: Similarities


def find_near_duplicates(
    texts: Texts, config: DedupConfig, clusters: Clusters, tell: Callable[[float], None]
) -> Merge:
    """Connect all near-duplicates in `clusters`, and find those that another record can stand for.

    Merging goes to a star, not along a chain: a text is merged only into one that it is itself similar to, and that
    is kept. Where a request has several messages the last one alone must be similar as well, since a long shared
    history says nothing about the question that is asked. Nothing is merged if the settings say so.
    """
    whole = _Comparison(texts, texts.starts, config, texts.signatures)
    last = _Comparison(texts, texts.last, config, None)
    edges: list[Words] = []

    def may_merge(first: Indices, second: Indices) -> Flags:
        near = whole.reaches(first, second)
        clusters.connect(first[near], second[near])
        near &= (
            texts.merge_key[first] == texts.merge_key[second]
        )  # which share a bucket by chance now and then
        asked = np.flatnonzero(near & ~(texts.one_message[first] & texts.one_message[second]))
        near[asked] = last.reaches(first[asked], second[asked])
        edges.append(_pair_numbers(first[near], second[near]))
        return near

    def same_cluster(first: Indices, second: Indices) -> Flags:
        linked = clusters.together(first, second)
        apart = np.flatnonzero(~linked)
        near = whole.reaches(first[apart], second[apart])
        clusters.connect(first[apart][near], second[apart][near])
        linked[apart] = near
        return linked

    filled = np.flatnonzero(texts.ends > texts.starts)
    salt = (mix(texts.merge_key.astype(np.uint64) + np.uint64(1)) >> np.uint64(32)).astype(np.uint32)[filled]
    for band, keys in enumerate(texts.band_keys):
        if config.merge_near_duplicates:
            _compare_buckets(keys[filled] ^ salt, filled, may_merge)
        _compare_buckets(keys[filled], filled, same_cluster)
        edges = [_distinct(np.concatenate(edges))] if edges else []
        tell((band + 1) / len(texts.band_keys))
    member, representative = _stars(texts.starts.size, edges[0] if edges else np.zeros(0, dtype=np.uint64))
    return Merge(member, representative, whole.similarity(representative, member))


def _distinct(words: Words) -> Words:
    """Ascending, each once. (`numpy.unique` hashes, an order slower than its sort.)"""
    words = np.sort(words)
    return words[np.concatenate([[True], words[1:] != words[:-1]])] if words.size else words


def _pair_numbers(first: Indices, second: Indices) -> Words:
    return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)


class _Comparison:
    """Whether pairs reach the threshold. Exact similarities are remembered, since bands repeat their pairs."""

    def __init__(
        self, texts: Texts, starts: Indices, config: DedupConfig, signatures: Signatures | None
    ) -> None:
        self.data, self.starts, self.ends = texts.data, starts, texts.ends
        self.threshold = np.float32(config.similarity_threshold)
        self.shingle_size = config.shingle_size
        self.signatures = signatures
        # Four standard deviations of an estimate of which half the bins were filled by the text itself.
        spread = self.threshold * (1 - self.threshold) / (config.permutations / 2)
        self.margin = 4 * float(np.sqrt(spread))
        slots = 1 << int(np.clip(np.ceil(np.log2(4 * starts.size + 1)), 10, 22))
        self.shift = np.uint64(64 - int(np.log2(slots)))
        self.pairs: Words = np.zeros(slots, dtype=np.uint64)
        self.known: Similarities = np.zeros(slots, dtype=np.float32)

    def reaches(self, first: Indices, second: Indices) -> Flags:
        near = np.zeros(first.size, dtype=bool)
        likely = np.arange(first.size)
        if self.signatures is not None:
            estimate = estimated_similarity(self.signatures, first, second)
            likely = np.flatnonzero(estimate >= self.threshold - self.margin)
        near[likely] = self.similarity(first[likely], second[likely]) >= self.threshold
        return near

    def similarity(self, first: Indices, second: Indices) -> Similarities:
        """Exact similarities; pairs with `first` below `second` are looked up before they are computed."""
        pairs = _pair_numbers(first, second)
        slots = (mix(pairs) >> self.shift).astype(np.int64)
        result = self.known[slots]
        new = np.flatnonzero(self.pairs[slots] != pairs)
        result[new] = jaccard(self.data, self.starts, self.ends, first[new], second[new], self.shingle_size)
        self.pairs[slots[new]] = pairs[new]
        # Two new pairs may want one slot: the one whose key was written last owns it.
        owner = self.pairs[slots[new]] == pairs[new]
        self.known[slots[new][owner]] = result[new][owner]
        return result


def _compare_buckets(keys: Keys, members: Indices, judge: Callable[[Indices, Indices], Flags]) -> None:
    """Compare the texts of each bucket (equal key) in rounds, never all pairs of a large one.

    Round by round a bucket's first text is compared with the rest and leaves. So do those it is near to, except in
    a small bucket, which is compared pair by pair. What is left of a large bucket after the last round has been
    compared with a dozen others there, and gets its chance in the other bands.
    """
    order = np.argsort(keys)
    keys = keys[order]
    shared = _shared(keys)
    members, keys = members[order[shared]], keys[shared]
    for _ in range(MOST_ROUNDS):
        if not keys.size:
            return
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        sizes = np.diff(np.append(begins, keys.size))
        pivots = np.repeat(np.minimum.reduceat(members, begins), sizes)
        rest = np.flatnonzero(members != pivots)
        near = judge(pivots[rest], members[rest])
        again = rest[~near | (np.repeat(sizes, sizes)[rest] <= SMALL_BUCKET)]
        members, keys = members[again], keys[again]
        shared = _shared(keys)
        members, keys = members[shared], keys[shared]


def _shared(keys: Keys) -> Indices:
    """Where ascending keys stand that stand there more than once."""
    equal = np.zeros(keys.size + 1, dtype=bool)
    equal[1:-1] = keys[1:] == keys[:-1]
    return np.flatnonzero(equal[1:] | equal[:-1])


def _stars(count: int, pairs: Words) -> tuple[Indices, Indices]:
    """Choose representatives among ascending near pairs: the best texts, none of them merged itself."""
    merged = np.full(count, -1, dtype=np.int64).tolist()
    lefts, rights = (pairs >> np.uint64(32)).tolist(), (pairs & np.uint64(0xFFFFFFFF)).tolist()
    for left, right in zip(lefts, rights, strict=True):
        if merged[left] < 0 and merged[right] < 0:
            merged[right] = left
    representative = np.array(merged, dtype=np.int64)
    member = np.flatnonzero(representative >= 0)
    return member, representative[member]

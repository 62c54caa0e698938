"""The evaluation items, indexed, and the ways in which a training row can overlap with one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.config import LeakageConfig
from flywheel.curation.leakage.overlap_index import ElementSets, OverlapIndex, count_shared
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText, LeftOut
from flywheel.curation.texts.normalised_text import Normalised, Normaliser, Stretches
from flywheel.curation.validated_table import hash_words, numbers, read_batches, row_numbers
from flywheel.records.answers import answer_message
from flywheel.records.messages import content_text

Indices = npt.NDArray[np.int64]

SHORTEST_ANSWER = 40
"""Bytes of a normalised answer from which its standing in another row's history says something."""

METHODS = {
    "same_request": "Equal hash of the canonical request.",
    "same_text": "Equal conversation after Unicode NFKC, case folding, and punctuation and white space made one space.",
    "answer_in_history": f"The item's reference answer (at least {SHORTEST_ANSWER} bytes when normalised) and its last "
    "message both stand in the row's own messages.",
    "ngram_overlap": "Share of the item's word n-grams that the row holds, both normalised; items shorter than an "
    "n-gram are left to same_text.",
    "jaccard": "Jaccard similarity of the sets of character shingles of the normalised conversations; computed for "
    "every pair that shares enough windows of twice a shingle's length; items shorter than that are left to same_text.",
}
LISTED = 0.75
"""Pairs that reach this share of a threshold are reported as well: those that are met, for the certificate to list."""


class Found(NamedTuple):
    """Overlapping pairs of a batch's rows and evaluation items, as seen by one method."""

    method: str
    threshold: float
    rows: Indices  # of the batch, ascending
    items: Indices
    values: npt.NDArray[np.float64]  # 0 to 1


class EvaluationSide:
    """Compares batches of rows with all evaluation items. The items are held in memory; there are few."""

    def __init__(
        self, validated: Path, rows: Indices, config: LeakageConfig, fixed: FixedText = NO_FIXED_TEXT
    ) -> None:
        """Read the items at the given rows of the validated table; items are numbered in that order.

        Without `fixed` n-grams and shingles are taken; equal texts and answers are looked for in the whole.
        """
        self._config = config
        self._fixed = fixed
        self._normalise = Normaliser()
        table, with_history = _read_items(validated, rows)
        texts = self._normalise(table["text"].combine_chunks())
        stretches = Stretches(texts)
        filled = np.flatnonzero(texts.ends > texts.starts)
        self._texts = _Lookup(stretches.whole()[filled], filled)
        self._requests = _Lookup(hash_words(table["request_hash"])[:, 0], np.arange(rows.size))
        if fixed:
            stretches = Stretches(self._normalise(fixed.own(table["text"].combine_chunks())[0]))
        self._ngrams = ElementSets(*stretches.word_ngrams(config.ngram_size), rows.size)
        self._shingles = ElementSets(*stretches.windows(config.shingle_size), rows.size)
        self._ngram_index = OverlapIndex(self._ngrams, config.ngram_overlap)
        # An edit spoils at most twice as many windows of twice the length, so of those a row with Jaccard
        # similarity t shares at least 1 - 2 (1 - t), and they are far rarer. Searched is from four fifths of that.
        windows = ElementSets(*stretches.windows(2 * config.shingle_size), rows.size)
        self._window_index = OverlapIndex(windows, max(0.8 * (2 * config.similarity_threshold - 1), 0.2))
        self._answers = _Answers(validated, rows, table, self._normalise) if with_history else None

    def compare(self, batch: pa.RecordBatch) -> tuple[list[Found], LeftOut]:
        """What each method finds, and how much of the texts was fixed.

        The batch has `text`, `roles` and `request_hash`.
        """
        own, left_out = self._fixed.own(batch["text"])
        return list(self._found(batch, own if left_out.records else None)), left_out

    def _found(self, batch: pa.RecordBatch, own: pa.Array | None) -> Iterator[Found]:
        """`own`: the texts to take n-grams and shingles of; None where they are the batch's."""
        yield _certain("same_request", *self._requests.find(hash_words(batch["request_hash"])[:, 0]))
        texts = self._normalise(batch["text"])
        stretches = Stretches(texts)
        yield _certain("same_text", *self._texts.find(stretches.whole()))
        if self._answers:
            history = np.flatnonzero(numbers(pc.utf8_length(batch["roles"])) > 1)
            yield _certain("answer_in_history", *self._answers.find(texts, stretches, history))
        if own is not None:
            stretches = Stretches(self._normalise(own))
        yield self._shared_ngrams(stretches)
        yield self._similar_shingles(stretches)

    def _shared_ngrams(self, stretches: Stretches) -> Found:
        hashes, owners = stretches.word_ngrams(self._config.ngram_size)
        rows, items = self._ngram_index.candidates(hashes, owners)
        wanted = np.isin(owners, rows)
        held = ElementSets(hashes[wanted], owners[wanted], stretches.texts.starts.size)
        share = count_shared(held, self._ngrams, rows, items) / np.maximum(self._ngrams.sizes[items], 1)
        return _worth_listing("ngram_overlap", self._config.ngram_overlap, rows, items, share)

    def _similar_shingles(self, stretches: Stretches) -> Found:
        size, threshold = self._config.shingle_size, self._config.similarity_threshold
        rows, items = self._window_index.candidates(*stretches.windows(2 * size))
        chosen, places = np.unique(rows, return_inverse=True)
        held = ElementSets(*stretches.of(chosen).windows(size), chosen.size)
        shared = count_shared(held, self._shingles, places, items)
        union = held.sizes[places] + self._shingles.sizes[items] - shared
        return _worth_listing("jaccard", threshold, rows, items, shared / np.maximum(union, 1))


class _Lookup:
    """Finds the items whose key equals a row's."""

    def __init__(self, keys: npt.NDArray[np.uint64], items: Indices) -> None:
        order = np.lexsort((items, keys))
        self.keys, self.items = keys[order], items[order]

    def find(self, keys: npt.NDArray[np.uint64]) -> tuple[Indices, Indices]:
        """Rows and items of equal keys, by row."""
        begins = np.searchsorted(self.keys, keys, side="left")
        counts = np.searchsorted(self.keys, keys, side="right") - begins
        rows = np.repeat(np.arange(keys.size), counts)
        places = np.arange(rows.size) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return rows, self.items[places]


class _Answers:
    """Finds rows whose history holds an item's reference answer together with what was asked."""

    def __init__(self, validated: Path, rows: Indices, items: pa.Table, normalise: Normaliser) -> None:
        self._pairs: list[tuple[bytes, bytes]] = []  # normalised question and answer of each item
        responses = _responses(validated, rows)
        for values in items.select(["text", "last_message_start", "choice"]).to_pylist():
            answer = _answer_text(responses[len(self._pairs)], values["choice"])
            question = (values["text"] or "")[values["last_message_start"] or 0 :]
            self._pairs.append((normalise.one(question), normalise.one(answer)))
        telling = [i for i, (asked, said) in enumerate(self._pairs) if asked and len(said) >= SHORTEST_ANSWER]
        beginnings = [self._pairs[i][1][:SHORTEST_ANSWER] for i in telling]
        data = np.frombuffer(b"".join(beginnings), dtype=np.uint8)
        places = np.arange(len(telling) + 1, dtype=np.int64) * SHORTEST_ANSWER
        keys = Stretches(Normalised(data, places[:-1], places[1:])).whole()
        self._lookup = _Lookup(keys, np.array(telling, dtype=np.int64))

    def find(self, texts: Normalised, stretches: Stretches, history: Indices) -> tuple[Indices, Indices]:
        """Rows (of those in `history`) and items."""
        if not self._lookup.keys.size or not history.size:
            return history[:0], history[:0]
        hashes, owners = stretches.windows(SHORTEST_ANSWER)
        held = np.isin(hashes, self._lookup.keys)
        places, items = self._lookup.find(hashes[held])
        pairs = sorted(set(zip(owners[held][places].tolist(), items.tolist(), strict=True)))
        turns = set(history.tolist())
        leaks = [
            (row, item) for row, item in pairs if row in turns and self._stands_in(texts.text(row), item)
        ]
        return np.array([row for row, _ in leaks], np.int64), np.array([item for _, item in leaks], np.int64)

    def _stands_in(self, text: bytes, item: int) -> bool:
        question, answer = self._pairs[item]
        return question in text and answer in text


def _read_items(validated: Path, rows: Indices) -> tuple[pa.Table, bool]:
    """The items' columns in the order of `rows`, and whether any record of the table has several messages."""
    columns = ["text", "roles", "request_hash", "last_message_start", "choice"]
    ascending = np.sort(rows)
    batches, with_history = [], False
    for first, batch in read_batches(validated, columns):
        with_history = with_history or bool((pc.max(pc.utf8_length(batch["roles"])).as_py() or 0) > 1)
        batches.append(_inside(batch, first, ascending))
    return pa.Table.from_batches(batches).take(row_numbers(np.searchsorted(ascending, rows))), with_history


def _responses(validated: Path, rows: Indices) -> list[bytes]:
    ascending = np.sort(rows)
    found: list[bytes] = []
    for first, batch in read_batches(validated, ["response"], rows=2_048):
        found += _inside(batch, first, ascending)["response"].to_pylist()
    return [found[place] for place in np.searchsorted(ascending, rows)]


def _inside(batch: pa.RecordBatch, first: int, ascending: Indices) -> pa.RecordBatch:
    low, high = np.searchsorted(ascending, [first, first + batch.num_rows])
    return batch.take(row_numbers(ascending[low:high] - first))


def _answer_text(response: bytes, choice: int | None) -> str:
    message: dict[str, Any] | None = answer_message(json.loads(response), choice)
    return content_text(message.get("content")) if message else ""


def _certain(method: str, rows: Indices, items: Indices) -> Found:
    return Found(method, 1.0, rows, items, np.ones(rows.size))


def _worth_listing(
    method: str, threshold: float, rows: Indices, items: Indices, values: npt.NDArray[np.float64]
) -> Found:
    near = values >= LISTED * threshold
    return Found(method, threshold, rows[near], items[near], values[near])

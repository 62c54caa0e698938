"""Finding the text that an application puts into every request.

A log does not say which words of a message are the application's. They are those that many requests under one system
prompt and one set of tools have in common, word for word, at a length that no chance explains. But so have a hundred
versions of one popular question, and those are near-duplicates. The two differ in where requests go their own way:
behind the same word of a template in every request, somewhere else in each version of a question. And where most
have no more than a number or a name of their own, they are the same question about another order.

A sample of each group is looked at: the requests with the smallest hashes, so the same ones in whatever order the log
stands.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.config import DedupConfig
from flywheel.curation.arrow_columns import column as column_of
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, WINDOW, FixedText
from flywheel.curation.texts.shingles import Bytes, Indices, Words, gather, window_hashes
from flywheel.curation.validated_table import (
    codes,
    hash_words,
    read_batches,
    read_columns,
    row_numbers,
    text_bytes,
)

Flags = npt.NDArray[np.bool_]

LEAST_HOLDERS = 20
"""Requests that must hold a text before it counts as fixed."""
LEAST_SHARE = 0.2
"""Share of a group's requests that must hold it; several templates may share a system prompt."""
LEAST_FIXED = 0.5
"""Share of these requests' text that must be fixed: with less, requests are compared well as they stand."""
LEAST_OWN = 10
"""Letters of their own, in bytes, that half of these requests must have; a number has none, a name has fewer."""
LEAST_AGREEMENT = 0.25
"""How often requests must go their own way at the same place: in a template always, in versions of a question of n
words about once in n."""

PER_GROUP, IN_ALL = 256, 2_048
"""Requests looked at."""
LONGEST_END = 6_000
"""Characters looked at from the begin of a text, and as many from its end."""
MOST_TEMPLATES = 8
MOST_SHOWN = 400
"""Characters of a fixed text that are shown."""
_BUCKET_BITS = 20


def fixed_text_of(validated: Path, config: DedupConfig) -> FixedText:
    """The fixed text of a validated table; nothing where the settings say that requests are compared as they are."""
    return find_fixed_text(validated) if config.leave_out_fixed_text else NO_FIXED_TEXT


def find_fixed_text(validated: Path) -> FixedText:
    """The fixed text of a validated table, whatever the order of its rows."""
    samples = _samples(read_columns(validated, ["context_hash", "roles", "request_hash"]))
    if not samples:
        return NO_FIXED_TEXT
    rows = np.sort(np.concatenate(samples))
    texts = _read(validated, rows)
    found = [fixed_text_in(texts.take(row_numbers(np.searchsorted(rows, sample)))) for sample in samples]
    return FixedText(
        np.concatenate([one.windows for one in found]), [text for one in found for text in one.examples]
    )


def fixed_text_in(texts: pa.Array) -> FixedText:
    """The fixed text of one group's requests; those that hold none of it may have another, and are looked at again."""
    data, offsets = text_bytes(texts.unique())
    windows: list[Words] = []
    examples = []
    for _ in range(MOST_TEMPLATES):
        held, counts = _widely_held(data, offsets)
        if not held.size:
            break
        fixed = FixedText(held)
        covered = fixed.covers(data, offsets)
        if not _is_template(covered, data, offsets, held, counts):
            break
        fixed_bytes = _inside(covered, offsets)
        windows.append(held)
        examples.append(_example(covered, data, offsets, int(np.argmax(fixed_bytes > 0))))
        without = np.flatnonzero(fixed_bytes == 0)
        data, offsets = gather(data, offsets[without], offsets[without + 1])
    return FixedText(np.concatenate(windows), examples) if windows else NO_FIXED_TEXT


def _samples(table: pa.Table) -> list[Indices]:
    """Rows of each group that is large enough, the largest groups first.

    A group has one system prompt, one set of tools and one sequence of roles: so of the turns of a conversation, which
    hold all that was said before, each is in a group of its own.
    """
    hashes = hash_words(table["request_hash"])[:, 0]
    group = codes(table["context_hash"]) * (table.num_rows + 1) + codes(table["roles"])
    order = np.lexsort((hashes, group))
    new_group = np.diff(group[order], prepend=-1) != 0
    distinct = order[new_group | (np.diff(hashes[order], prepend=np.uint64(0)) != 0)]
    begins = np.flatnonzero(np.diff(group[distinct], prepend=-1))
    sizes = np.diff(np.append(begins, distinct.size))
    by_size = np.lexsort((hashes[distinct[begins]], -sizes))
    samples, taken = [], 0
    for place in by_size[sizes[by_size] >= LEAST_HOLDERS].tolist():
        if taken >= IN_ALL:
            break
        samples.append(distinct[begins[place] : begins[place] + min(sizes[place], PER_GROUP)])
        taken += samples[-1].size
    return samples


def _read(validated: Path, rows: Indices) -> pa.Array:
    """The texts of some rows, ascending, without the middle of long ones."""
    parts: list[pa.Array] = [column_of([], pa.string())]
    for first, batch in read_batches(validated, ["text"]):
        low, high = np.searchsorted(rows, [first, first + batch.num_rows])
        chosen = batch["text"].take(row_numbers(rows[low:high] - first))
        if (pc.max(pc.utf8_length(chosen)).as_py() or 0) > 2 * LONGEST_END:
            texts = [text or "" for text in chosen.to_pylist()]
            chosen = column_of([_without_middle(text) for text in texts], pa.string())
        parts.append(chosen)
    return pa.concat_arrays(parts)


def _without_middle(text: str) -> str:
    return text if len(text) <= 2 * LONGEST_END else f"{text[:LONGEST_END]}\n{text[-LONGEST_END:]}"


def _widely_held(data: Bytes, offsets: Indices) -> tuple[Words, Indices]:
    """Windows that at least half as many texts hold as the one that most do, ascending, and how many hold each."""
    hashes = window_hashes(data, WINDOW)
    owners = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))[: hashes.size]
    inside = np.flatnonzero(np.arange(hashes.size) + WINDOW <= offsets[owners + 1])
    hashes, owners = hashes[inside], owners[inside]
    least = max(LEAST_HOLDERS, int(np.ceil(LEAST_SHARE * (offsets.size - 1))))
    buckets = (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
    often = np.bincount(buckets, minlength=1 << _BUCKET_BITS) >= least  # spares the sort most of the windows
    likely = np.flatnonzero(often[buckets])
    hashes, owners = hashes[likely], owners[likely]
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    once = np.concatenate([[True], (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])])[: hashes.size]
    held, counts = np.unique(hashes[once], return_counts=True)
    level = max(least, int(counts.max(initial=0)) / 2)
    return held[counts >= level], counts[counts >= level]


def _is_template(covered: Flags, data: Bytes, offsets: Indices, held: Words, counts: Indices) -> bool:
    """Whether what is covered is fixed, as opposed to what versions of one text have in common."""
    fixed, lengths = _inside(covered, offsets), np.diff(offsets)
    holders = fixed > 0
    letters = ((data | 0x20) - ord("a") < 26) | (data >= 128)
    own = _inside(~covered & letters, offsets)[holders]
    if np.median(fixed[holders] / lengths[holders]) < LEAST_FIXED or np.median(own) < LEAST_OWN:
        return False
    text_begins = np.zeros(data.size + 1, dtype=bool)
    text_begins[offsets] = True
    before = np.concatenate([[False], covered[:-1]]) & ~text_begins[:-1]
    behind = np.concatenate([covered[1:], [False]]) & ~text_begins[1:]
    begins = np.flatnonzero(covered & ~before & ~text_begins[:-1])
    ends = np.flatnonzero(covered & ~behind & ~text_begins[1:]) - (WINDOW - 1)
    hashes = window_hashes(data, WINDOW)
    sides = (places[(places >= 0) & (places < hashes.size)] for places in (begins, ends))
    agreement = np.concatenate([_agreement(hashes[places], held, counts) for places in sides])
    return bool(agreement.size and agreement.mean() >= LEAST_AGREEMENT)


def _agreement(windows: Words, held: Words, counts: Indices) -> npt.NDArray[np.float64]:
    """For each window at which a text goes its own way, the share of its holders that do so there."""
    places = np.minimum(np.searchsorted(held, windows), held.size - 1)
    places = places[held[places] == windows]  # a stretch may end a few bytes early, with a whole character
    shares = np.minimum(np.bincount(places, minlength=held.size) / counts, 1.0)
    return np.asarray(shares[places])


def _inside(flags: Flags, offsets: Indices) -> Indices:
    """How many bytes of each text are flagged."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(sums[offsets[1:]] - sums[offsets[:-1]])


def _example(covered: Flags, data: Bytes, offsets: Indices, text: int) -> str:
    """The fixed text of one request."""
    span = slice(offsets[text], offsets[text + 1])
    flags, letters = covered[span], data[span]
    bounds = np.flatnonzero(np.diff(flags)) + 1
    pieces = [
        piece.tobytes().decode("utf-8", "replace") if flag else " … "
        for piece, flag in zip(np.split(letters, bounds), flags[np.append(0, bounds)], strict=True)
    ]
    shown = " ".join("".join(pieces).split())
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 1]}…"

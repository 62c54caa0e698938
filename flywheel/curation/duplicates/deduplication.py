"""Merge records that ask the same, and name the groups of records that depend on each other.

Exact repeats of the canonical request become one record with their number as its weight. Near-duplicates of the
conversation's own text form a cluster, together with the turns of a conversation; a cluster never straddles the
split. Within a cluster, near-duplicates under one system prompt and tool list are merged where the settings say so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flywheel.config import DedupConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.duplicates import conversations, exact_duplicates
from flywheel.curation.duplicates.clusters import Clusters
from flywheel.curation.duplicates.conversations import connect_conversations
from flywheel.curation.duplicates.exact_duplicates import ExactGroups, exact_groups
from flywheel.curation.duplicates.left_out import left_out_of
from flywheel.curation.duplicates.minhash import band_keys, choose_bands, signatures
from flywheel.curation.duplicates.near_duplicates import Merge, Texts, find_near_duplicates
from flywheel.curation.duplicates.same_meaning import find_same_meaning
from flywheel.curation.rejected_rows import RejectedRows, write_rejected
from flywheel.curation.schema import DEDUPLICATED, DEDUPLICATED_FILE
from flywheel.curation.side_by_side import side_by_side
from flywheel.curation.texts.embeddings import Embeddings
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText, LeftOut
from flywheel.curation.texts.shingles import Bytes
from flywheel.curation.validated_table import (
    codes,
    hash_words,
    numbers,
    read_batches,
    read_columns,
    row_numbers,
    text_bytes,
)
from flywheel.progress import Progress

Indices = npt.NDArray[np.int64]

STAGE = "deduplicate"
EXAMPLES = 20  # pairs in other words that are listed
COLUMNS = ("answer_class", "context_hash", "roles", *exact_duplicates.COLUMNS, *conversations.COLUMNS)


def deduplicate(
    validated: Path,
    out: Path,
    config: DedupConfig,
    progress: Progress,
    constants: Mapping[str, str] | None = None,
    preferred: Collection[str] = (),
    refuse: Callable[[RejectedRows], None] = write_rejected,
    fixed: FixedText = NO_FIXED_TEXT,
    embeddings: Embeddings | None = None,
) -> dict[str, Any]:
    """Write `deduplicated.parquet` and `rejected.jsonl` into `out`; the order of the records does not matter.

    Args:
        constants: Fields that all records share and the validated table does not hold; they are written into the
            rejected records.
        preferred: Ids of records that stand for their duplicates before any other; a set.
        refuse: Writes what is left out, or sees to it that it gets written.
        fixed: Text that is not looked at where requests are compared.
        embeddings: Of the validated table; they are compared as `config.semantic` says.
    Returns:
        `exact_duplicates`, `near_duplicates` and `invalid` (an id used twice), which with `kept` add up to the
        table's rows; `clusters`, `largest_cluster` (records kept in it), `teacher_noise`, and `fixed_text`, what was
        not looked at of the distinct requests; `same_meaning` where embeddings are compared. Those merged for their
        meaning are among the `near_duplicates`.
    """
    table = read_columns(validated, COLUMNS)
    groups = exact_groups(table, config.representative, preferred)
    clusters = Clusters(groups.representative.size)
    connect_conversations(table, groups.request_of, clusters)
    with tempfile.TemporaryFile(dir=out) as file:
        texts, left_out = _texts(validated, table, groups, config, fixed, file, _part(progress, 0, 40))
        table = table.select(["record_id", "timestamp", "answer_class", "request_hash"])
        merged = find_near_duplicates(texts, config, clusters, _part(progress, 40, 90))
        keys, one_message = texts.merge_key, texts.one_message
        del texts  # a third of all the memory
    merges, told = [merged], dict[str, Any]()
    if embeddings is not None and config.semantic.mode != "off":
        same, told = _same_meaning(table, groups, keys, one_message, clusters, merged, embeddings, config)
        merges += [same] if config.semantic.mode == "merge" else []
    kept = _kept(table, groups, clusters, merges)
    pq.write_table(kept, out / DEDUPLICATED_FILE)
    rows, reasons, refused = left_out_of(table, groups, merges)
    refuse(RejectedRows(validated, out, rows, reasons, constants))
    progress(STAGE, 100, 100)
    _, sizes = np.unique(codes(kept["cluster"]), return_counts=True)
    return {
        **refused,
        "kept": kept.num_rows,
        "clusters": int(sizes.size),
        "largest_cluster": int(sizes.max(initial=0)),
        "teacher_noise": groups.teacher_noise,
        "fixed_text": fixed.report(left_out),
        **({"same_meaning": told} if told else {}),
    }


def _same_meaning(
    table: pa.Table,
    groups: ExactGroups,
    merge_key: Indices,
    one_message: npt.NDArray[np.bool_],
    clusters: Clusters,
    merged: Merge,
    embeddings: Embeddings,
    config: DedupConfig,
) -> tuple[Merge, dict[str, Any]]:
    """Of what is left of near-duplicates the requests that mean the same, and what is told of them.

    Requests of several messages are connected and not merged: the vector of a long history says little of the question.
    """
    settings = config.semantic
    left = np.setdiff1d(np.arange(groups.representative.size), merged.member)
    rows = groups.representative[left]
    same = find_same_meaning(
        left,
        rows,
        merge_key[left],
        one_message[left],
        embeddings,
        settings.similarity_threshold,
        clusters if settings.mode == "merge" else None,
        EXAMPLES,
    )
    names = table["record_id"].combine_chunks()
    closest = [
        {
            "record_ids": [names[int(groups.representative[request])].as_py() for request in pair],
            "cosine": round(cosine, 4),
        }
        for cosine, *pair in same.closest
    ]
    return Merge(same.member, same.representative, same.cosine), {
        "mode": settings.mode,
        "similarity_threshold": settings.similarity_threshold,
        "repeats": int(same.member.size),
        "close_pairs": same.pairs,
        "without_vector": int((~embeddings.known(rows)).sum()),
        "closest_pairs": closest,
    }


def _part(progress: Progress, start: int, end: int) -> Callable[[float], None]:
    """Tells how far a part of the stage is, as percent of the stage."""
    return lambda share: progress(STAGE, int(start + (end - start) * share), 100)


def _texts(
    validated: Path,
    table: pa.Table,
    groups: ExactGroups,
    config: DedupConfig,
    fixed: FixedText,
    file: BinaryIO,
    tell: Callable[[float], None],
) -> tuple[Texts, LeftOut]:
    """Signatures of all requests; their texts go to a file, of which memory holds what is looked at."""
    count = groups.representative.size
    starts, ends, last = (np.zeros(count, dtype=np.int64) for _ in range(3))
    table_of_signatures = np.empty((count, config.permutations), dtype=np.uint16)
    by_row = np.argsort(groups.representative)
    rows = groups.representative[by_row]
    bands, rows_of_band = choose_bands(config.similarity_threshold, config.permutations)
    keys = np.empty((bands, count), dtype=np.uint32)
    written = 0
    left_out = LeftOut()

    def batches() -> Iterator[tuple[Indices, Bytes, Indices]]:
        nonlocal written, left_out
        done = 0
        for first, batch in read_batches(validated, ["text", "last_message_start"], rows=2_048):
            end = int(np.searchsorted(rows, first + batch.num_rows))
            requests = by_row[done:end]
            chosen = batch.take(row_numbers(rows[done:end] - first))
            data, offsets = text_bytes(chosen["text"])
            characters = numbers(chosen["last_message_start"]).astype(np.int64)
            places = _byte_places(data, offsets, characters)
            (data, offsets, places), cut = fixed.cut(data, offsets, places)
            left_out += cut
            starts[requests], ends[requests] = offsets[:-1] + written, offsets[1:] + written
            last[requests] = places + written
            file.write(data.tobytes())
            written += data.size
            done = end
            yield requests, data, offsets

    def sign(batch: tuple[Indices, Bytes, Indices]) -> int:
        requests, data, offsets = batch
        signed = signatures(data, offsets, config.shingle_size, config.permutations)
        table_of_signatures[requests] = signed
        keys[:, requests] = band_keys(signed, bands, rows_of_band)
        return requests.size

    signed = 0
    for size in side_by_side(sign, batches()):
        signed += size
        tell(signed / max(count, 1))
    file.flush()
    roles = table["roles"].combine_chunks()
    contexts = codes(table["context_hash"])[groups.representative]
    one_message = numbers(pc.utf8_length(roles))[groups.representative] <= 1
    merge_key = contexts * (len(roles) + 1) + codes(table["roles"])[groups.representative] + 1
    mapped: Bytes = np.memmap(file, dtype=np.uint8, mode="r") if written else np.zeros(0, dtype=np.uint8)
    texts = Texts(mapped, starts, ends, last, one_message, merge_key, table_of_signatures, keys)
    return texts, left_out


def _byte_places(data: Bytes, offsets: Indices, characters: Indices) -> Indices:
    """Where in `data` the given character of each text begins; past its end where the text is shorter."""
    begins = (data & 0xC0) != 0x80  # a UTF-8 byte that is not a continuation begins a character
    if begins.all():
        return np.asarray(np.minimum(offsets[:-1] + characters, offsets[1:]))
    places = np.flatnonzero(begins)
    wanted = np.searchsorted(places, offsets[:-1]) + characters
    found = np.append(places, data.size)[np.minimum(wanted, places.size)]
    return np.asarray(np.minimum(found, offsets[1:]))


def _kept(table: pa.Table, groups: ExactGroups, clusters: Clusters, merges: Sequence[Merge]) -> pa.Table:
    weight = groups.weight.copy()
    keep = np.ones(weight.size, dtype=bool)
    for merged in merges:  # in their order: the representatives of one may be the members of the next
        np.add.at(weight, merged.representative, weight[merged.member])
        keep[merged.member] = False
    names = _cluster_names(table, groups, clusters)
    rows = groups.representative[keep]
    chosen = table.select(["record_id", "timestamp", "answer_class"]).take(row_numbers(rows))
    columns = {
        "row": row_numbers(rows),
        **{name: chosen[name] for name in chosen.column_names},
        "cluster": names.take(row_numbers(clusters.labels[keep])),
        "weight": row_numbers(weight[keep]),
    }
    return pa.table(columns, schema=DEDUPLICATED).sort_by("record_id").combine_chunks()


def _cluster_names(table: pa.Table, groups: ExactGroups, clusters: Clusters) -> pa.Array:
    """For each label the smallest request hash of its members, in hex: the same whatever else is in the log."""
    hashes = table["request_hash"].take(row_numbers(groups.representative)).combine_chunks()
    words = hash_words(hashes)
    order = np.lexsort((words[:, 1], words[:, 0]))  # as their hex sorts
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    smallest = rank.copy()
    np.minimum.at(smallest, clusters.labels, rank)
    named = hashes.take(row_numbers(order[smallest])).to_pylist()
    return column([value.hex() for value in named], pa.string())

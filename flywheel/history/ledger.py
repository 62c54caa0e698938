"""What was ever evaluated or trained on, and whether a cluster of today's log has something of it.

A row of the ledger is one record that a run used. A cluster of today's log is known where one of its records asks the
same as a row, bears the row's cluster name, or has a near-duplicate among the rows: a log that moves on names and cuts
its clusters anew, so no single mark would do. Near-duplicates are seen by MinHash alone, with room for its error, so
now and then a cluster is taken for known that is not. That costs an item; the other error would cost the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.arrow_columns import column
from flywheel.curation.duplicates.minhash import Signatures, band_keys, choose_bands, signatures
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.curation.validated_table import numbers, read_batches, row_numbers, text_bytes

EVALUATED, TRAINED = "evaluated", "trained"
SHINGLE_SIZE = 5
PERMUTATIONS = 64
ROOM = 0.1
"""How far below the threshold an estimate may lie: twice the standard deviation of one at 0.8."""
MOST_COMPARED = 20  # rows of the ledger in one bucket

LEDGER = pa.schema(
    [
        pa.field("request_hash", pa.binary(16)),
        pa.field("used", pa.string()),  # "evaluated" or "trained"
        pa.field("cluster", pa.string()),
        pa.field("run_id", pa.string()),  # the first run that used it so
        pa.field("signature", pa.binary(2 * PERMUTATIONS)),
    ]
)
Indices = npt.NDArray[np.int64]


class Known(msgspec.Struct, frozen=True):
    """Names of today's clusters that hold something evaluated, and of those that hold something trained on."""

    evaluated: frozenset[str]
    trained: frozenset[str]


def ledger_rows(
    validated: Path,
    rows: Indices,
    clusters: Sequence[str],
    used: str,
    run_id: str,
    fixed: FixedText = NO_FIXED_TEXT,
) -> pa.Table:
    """Rows for the records at these row numbers of the validated table, whose clusters are given in the same order.

    Signatures are of the texts without `fixed`.
    """
    order = np.argsort(rows, kind="stable")
    hashes: list[bytes] = []
    signed: list[bytes] = []
    for batch, table, _ in _signed(validated, rows[order], fixed):
        hashes += batch["request_hash"].to_pylist()
        signed += [signature.tobytes() for signature in table]
    names = [clusters[place] for place in order.tolist()]
    columns: list[list[Any]] = [hashes, [used] * len(hashes), names, [run_id] * len(hashes), signed]
    return pa.Table.from_arrays(
        [column(values, field.type) for values, field in zip(columns, LEDGER, strict=True)], schema=LEDGER
    )


def union(ledgers: Iterable[pa.Table]) -> pa.Table:
    """Every record once for each way in which it was used; of several rows the first counts."""
    tables = [LEDGER.empty_table(), *ledgers]
    table = pa.concat_tables(tables).combine_chunks()
    seen: set[tuple[bytes, str]] = set()
    kept = []
    for place, key in enumerate(
        zip(table["request_hash"].to_pylist(), table["used"].to_pylist(), strict=True)
    ):
        if key not in seen:
            seen.add(key)
            kept.append(place)
    return table.take(row_numbers(np.array(kept, dtype=np.int64)))


def read_ledger(path: Path) -> pa.Table:
    """The ledger in a Parquet file."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def known_clusters(
    ledger: pa.Table,
    validated: Path,
    deduplicated: pa.Table,
    threshold: float,
    fixed: FixedText = NO_FIXED_TEXT,
) -> Known:
    """Which of today's clusters hold something that was used before.

    Args:
        deduplicated: Columns `row` and `cluster` of the records that are kept.
        threshold: Similarity from which conversations are near-duplicates.
        fixed: Text of today's log that is not looked at.
    """
    rows = numbers(deduplicated["row"]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    names = deduplicated["cluster"].to_pylist()
    clusters = [names[place] for place in order.tolist()]
    used = ledger["used"].to_pylist()
    marks: dict[str, set[str]] = {EVALUATED: set(), TRAINED: set()}
    for name, cluster, request in zip(
        used, ledger["cluster"].to_pylist(), ledger["request_hash"].to_pylist(), strict=True
    ):
        marks[name] |= {cluster, request.hex()}  # clusters are named by the hash of one of their requests
    index = {way: _Index(ledger, way, threshold) for way in marks}
    found: dict[str, set[str]] = {EVALUATED: set(), TRAINED: set()}
    done = 0
    for batch, table, filled in _signed(validated, rows[order], fixed):
        hashes = batch["request_hash"].to_pylist()
        here = clusters[done : done + len(hashes)]
        done += len(hashes)
        for way in found:
            near = index[way].near(table) & filled
            found[way] |= {
                cluster
                for cluster, request, close in zip(here, hashes, near.tolist(), strict=True)
                if close or cluster in marks[way] or request.hex() in marks[way]
            }
    return Known(frozenset(found[EVALUATED]), frozenset(found[TRAINED]))


class _Index:
    """Signatures of the ledger's rows of one use, by their bands."""

    def __init__(self, ledger: pa.Table, used: str, threshold: float) -> None:
        signed = [
            signature
            for signature, way in zip(
                ledger["signature"].to_pylist(), ledger["used"].to_pylist(), strict=True
            )
            if way == used
        ]
        self._signatures: Signatures = np.frombuffer(b"".join(signed), dtype=np.uint16).reshape(
            -1, PERMUTATIONS
        )
        self._least = threshold - ROOM
        self._bands, self._rows_of_band = choose_bands(threshold, PERMUTATIONS)
        keys_of_bands = list(self._band_keys(self._signatures))
        self._order = [np.argsort(keys, kind="stable") for keys in keys_of_bands]
        self._keys = [keys[order] for keys, order in zip(keys_of_bands, self._order, strict=True)]

    def near(self, table: Signatures) -> npt.NDArray[np.bool_]:
        """For each signature whether the ledger has a near one."""
        found = np.zeros(len(table), dtype=bool)
        if not len(self._signatures):
            return found
        for keys, sorted_keys, order in zip(self._band_keys(table), self._keys, self._order, strict=True):
            begins = np.searchsorted(sorted_keys, keys, side="left")
            ends = np.searchsorted(sorted_keys, keys, side="right")
            for step in range(MOST_COMPARED):
                open_ = np.flatnonzero(~found & (begins + step < ends))
                if not open_.size:
                    break
                other = self._signatures[order[begins[open_] + step]]
                found[open_] = (table[open_] == other).mean(axis=1) >= self._least
        return found

    def _band_keys(self, table: Signatures) -> Iterable[npt.NDArray[np.uint32]]:
        return band_keys(table, self._bands, self._rows_of_band)


def _signed(
    validated: Path, rows: Indices, fixed: FixedText
) -> Iterable[tuple[pa.RecordBatch, Signatures, npt.NDArray[np.bool_]]]:
    """The wanted rows (ascending) of the validated table, a batch at a time, with the signatures of their texts and
    whether there is a text: the signature of none says nothing.
    """
    for first, batch in read_batches(validated, ["request_hash", "text"], rows=2_048):
        low, high = np.searchsorted(rows, [first, first + batch.num_rows])
        if low == high:
            continue
        chosen = batch.take(row_numbers(rows[low:high] - first))
        data, offsets, _ = fixed.cut(*text_bytes(chosen["text"]))[0]
        yield chosen, signatures(data, offsets, SHINGLE_SIZE, PERMUTATIONS), np.diff(offsets) > 0

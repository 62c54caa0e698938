"""What a run leaves for the next, as a directory: the kept evaluation set and the ledger.

    memory.json     {"schema", "holdout": {"name", "since", "uses"} or null, "runs": [ids that the ledger covers],
                    "drawn_from": counts of the traffic that the kept set was drawn from, or null}
    kept.parquet    the kept evaluation set: records as `EXTRACTED`, so that a later run can read them like a log
    ledger.parquet  what was ever evaluated or trained on (`flywheel.history.ledger`)

A memory holds all of those before it, so the newest is enough where runs followed each other; of runs that went side
by side every one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.schema import EXTRACTED
from flywheel.errors import DatasetError
from flywheel.findings.drift import TrafficProfile
from flywheel.history.ledger import LEDGER, read_ledger, union

SCHEMA = 1
MEMORY_FILE, KEPT_FILE, LEDGER_FILE = "memory.json", "kept.parquet", "ledger.parquet"


class HoldoutUse(msgspec.Struct, frozen=True):
    """An evaluation set and how often it was used. `since` is ISO 8601 in UTC."""

    name: str
    since: str
    uses: int


class Memory(msgspec.Struct, frozen=True):
    """`memory.json`."""

    schema: int = SCHEMA
    holdout: HoldoutUse | None = None
    runs: list[str] = []
    drawn_from: TrafficProfile | None = None


def write_memory(out: Path, memory: Memory, kept: pa.Table, ledger: pa.Table) -> None:
    """Write the three files."""
    (out / MEMORY_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(memory)) + b"\n")
    pq.write_table(kept.cast(EXTRACTED), out / KEPT_FILE, compression="zstd")
    pq.write_table(ledger.cast(LEDGER), out / LEDGER_FILE, compression="zstd")


def read_memory(directory: Path) -> Memory:
    """`memory.json` of a directory. Raises DatasetError where it is of another schema."""
    try:
        memory = msgspec.json.decode((directory / MEMORY_FILE).read_bytes(), type=Memory)
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(f"{directory / MEMORY_FILE} cannot be read: {error}") from error
    if memory.schema != SCHEMA:
        raise DatasetError(
            f"{directory} was written by another flywheel (schema {memory.schema}, this one reads {SCHEMA}). Set "
            "history_config.keep_evaluation_set to false to begin anew."
        )
    return memory


def read_kept(directory: Path) -> pa.Table:
    """The kept evaluation set, as `EXTRACTED`."""
    with pq.ParquetFile(directory / KEPT_FILE) as file:
        return file.read(use_threads=False)


def recall(newest_first: Sequence[Path], out: Path) -> Memory:
    """Write into `out` what these memories come to: the newest's kept set, and all ledgers together.

    Memories that a newer one already holds are passed over. Without any an empty one is written.
    """
    covered: set[str] = set()
    ledgers: list[pa.Table] = []
    first: Memory | None = None
    kept = EXTRACTED.empty_table()
    for directory in newest_first:
        memory = read_memory(directory)
        if first is None:
            first, kept = memory, read_kept(directory)
        elif set(memory.runs) <= covered:
            continue
        covered |= set(memory.runs)
        ledgers.append(read_ledger(directory / LEDGER_FILE))
    recalled = Memory(
        holdout=first.holdout if first else None,
        runs=sorted(covered),
        drawn_from=first.drawn_from if first else None,
    )
    write_memory(out, recalled, kept, union(ledgers))
    return recalled


def kept_ids(kept: pa.Table) -> list[str]:
    """Ids of the kept items, ascending."""
    ids: Iterable[str] = kept["id"].to_pylist()
    return sorted(ids)

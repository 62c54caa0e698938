"""Logs in files: the contract over each packing, and damage of every kind."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogBatch, Refusal
from flywheel.errors import DataError
from flywheel.progress import silent
from tests.contracts.log_store import LogStoreContract, StoreOf, ids, query, read, record, rows, total

Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def lines(records: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records)


def refused(batches: Sequence[LogBatch]) -> list[Refusal]:
    return [refusal for batch in batches for refusal in batch.refused]


class TestJsonLines(LogStoreContract):
    @pytest.fixture(params=PACKS)
    def store_of(self, tmp_path: Path, request: pytest.FixtureRequest) -> StoreOf:
        def make(records: Sequence[Any]) -> FileLogStore:
            path = tmp_path / "log.jsonl"  # the name tells nothing of the packing
            path.write_bytes(PACKS[request.param](lines(records)) if records else b"")
            return FileLogStore(path)

        return make


class TestParquetWithJsonText(LogStoreContract):
    @pytest.fixture
    def store_of(self, tmp_path: Path) -> StoreOf:
        def make(records: Sequence[Any]) -> FileLogStore:
            path = tmp_path / "logs"
            path.mkdir(exist_ok=True)
            texts = [
                {k: json.dumps(v) if k in ("request", "response") else v for k, v in logged.items()}
                for logged in records
            ]
            one_type = (
                len({type(logged.get("timestamp")) for logged in records}) == 1
            )  # of times, as a column wants
            for number, table in enumerate([texts] if one_type else [[text] for text in texts]):
                names = sorted({name for row in table for name in row})
                columns = {name: [row.get(name) for row in table] for name in names}
                pq.write_table(pa.Table.from_pydict(columns), path / f"{number:04d}.parquet")
            return FileLogStore(path)

        return make


def test_a_directory_of_mixed_packings_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for position, pack in enumerate(PACKS.values()):
        (tmp_path / f"day-{position}").mkdir()
        (tmp_path / f"day-{position}" / "log").write_bytes(pack(lines([record(position)])))
    pq.write_table(pa.Table.from_pylist([record(3)]), tmp_path / "day-3.parquet")
    (tmp_path / ".part").write_bytes(b"not finished")
    batches = read(FileLogStore(tmp_path))
    assert [(row["id"], row["file"], row["line"]) for row in rows(batches)] == [
        ("r0", "day-0/log", 1),
        ("r1", "day-1/log", 1),
        ("r2", "day-2/log", 1),
        ("r3", "day-3.parquet", 1),
    ]
    assert refused(batches) == []


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_files_appended_to_in_several_members_are_read_to_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKS[kind](lines([record(0)])) + PACKS[kind](lines([record(1)])))
    assert ids(read(FileLogStore(path))) == ["r0", "r1"]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_of_a_cut_off_file_what_can_be_read_is_used_and_the_cut_is_on_record(
    tmp_path: Path, kind: str
) -> None:
    whole = PACKS[kind](lines([record(i, noise=hash_text(i)) for i in range(500)]))
    path = tmp_path / "log"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    batches = read(FileLogStore(path))
    (refusal,) = refused(batches)
    assert (refusal.reason, refusal.file) == ("truncated_file", "log")
    kept = len(rows(batches))
    assert 150 < kept < 500
    assert refusal.line == kept + 1
    assert ids(batches) == sorted(f"r{i}" for i in range(kept))


def hash_text(number: int) -> str:
    """Text that does not compress."""
    return hashlib.sha512(str(number).encode()).hexdigest()


def test_a_damaged_gzip_and_a_parquet_file_cut_in_half_do_not_end_the_reading(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(lines([record(i, noise=hash_text(i)) for i in range(500)])))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(packed)
    pq.write_table(pa.Table.from_pylist([record(900)]), tmp_path / "b.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jsonl").write_bytes(lines([record(901)]))
    batches = read(FileLogStore(tmp_path))
    assert {refusal.file: refusal.reason for refusal in refused(batches)}["b.parquet"] == "truncated_file"
    assert "r901" in ids(batches)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "x", "workload_id"', "not_json"),
        (b"2025-01-01 WARN exporter is slow", "not_json"),
        (b"[1, 2]", "not_json"),
        (b"3", "not_json"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b'{"workload_id": "caf\xe9"}', "not_utf8"),
        (b"\xff\xfe{\x00}\x00", "not_utf8"),
    ],
)
def test_a_line_that_is_no_record_is_refused_with_reason_origin_and_text(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([record(0)]) + line + b"\n" + lines([record(1)]))
    batches = read(FileLogStore(path))
    (refusal,) = refused(batches)
    assert (refusal.reason, refusal.file, refusal.line) == (reason, "log.jsonl", 2)
    assert isinstance(refusal.record, str)
    assert refusal.detail
    assert ids(batches) == ["r0", "r1"]


def test_bom_carriage_returns_and_blank_lines_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    data = (
        b"\xef\xbb\xbf"
        + lines([record(0)]).replace(b"\n", b"\r\n")
        + b"\r\n  \n\n"
        + lines([record(1)]).rstrip()
    )
    path.write_bytes(data)
    batches = read(FileLogStore(path))
    assert [(row["id"], row["line"]) for row in rows(batches)] == [("r0", 1), ("r1", 5)]
    assert refused(batches) == []


def test_a_line_as_long_as_allowed_is_read_and_one_longer_is_refused(tmp_path: Path) -> None:
    line = lines([record(0)])
    path = tmp_path / "log.jsonl"
    path.write_bytes(line + line.replace(b"question", b"questions") + line)
    batches = read(FileLogStore(path, max_record_bytes=len(line) - 1))
    (refusal,) = refused(batches)
    assert (refusal.reason, refusal.line) == ("too_large", 2)
    assert "max_record_bytes" in refusal.detail
    assert ids(batches) == ["r0", "r0"]


@pytest.mark.parametrize("kind", PACKS)
def test_a_line_of_50_mb_is_refused_without_being_held_in_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    huge = b'{"id": "' + b"x" * 50_000_000 + b'"}\n'
    path.write_bytes(PACKS[kind](lines([record(0)]) + huge + lines([record(1)])))
    code = (
        "import resource, sys\n"
        "from blocks.logs.file_log_store import FileLogStore\n"
        "from blocks.ports import LogQuery\n"
        "from flywheel.progress import silent\n"
        "import zstandard\n"
        "store = FileLogStore(sys.argv[1], max_record_bytes=1_000_000)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "batches = list(store.read(LogQuery('router', 'acme'), silent))\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "refused = [r for b in batches for r in b.refused]\n"
        "print((after - before) // 1024, sum(b.records.num_rows for b in batches), *[r.reason for r in refused])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    grown, kept, reason = done.stdout.split()
    assert (kept, reason) == ("2", "too_large")
    assert int(grown) < 40


@pytest.mark.parametrize(
    "what", ["missing", "empty file", "empty directory", "directory of empty files", "pipe"]
)
def test_nothing_to_read_is_an_error_that_names_the_path(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log"
    if what == "empty file":
        path.touch()
    elif what == "pipe":
        os.mkfifo(path)  # nobody writes to it: who opened it would wait for ever
    elif what != "missing":
        path.mkdir()
        if what == "directory of empty files":
            (path / "a.jsonl").touch()
    for attempt in (lambda: read(FileLogStore(path)), lambda: FileLogStore(path).workloads(silent)):
        with pytest.raises(DataError, match=str(path)):
            attempt()


def test_nested_parquet_columns_are_read_without_the_nulls_that_other_rows_brought(tmp_path: Path) -> None:
    other = record(1)
    other["request"] = {"messages": [{"role": "user", "content": "x", "name": "ann"}], "temperature": 0.5}
    pq.write_table(pa.Table.from_pylist([record(0), other]), tmp_path / "log.parquet")
    by_id = {row["id"]: json.loads(row["request"]) for row in rows(read(FileLogStore(tmp_path)))}
    assert by_id == {"r0": record(0)["request"], "r1": other["request"]}


def test_payloads_written_as_json_text_are_unwrapped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([record(0, request=json.dumps(record(0)["request"]))]))
    (row,) = rows(read(FileLogStore(path)))
    assert json.loads(row["request"]) == record(0)["request"]


def test_numbers_are_accepted_as_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([record(0, id=17, workload_id=5)]))
    (row,) = rows(read(FileLogStore(path), workload_id="5"))
    assert (row["id"], row["workload_id"]) == ("17", "5")


def test_which_records_of_one_second_are_the_newest_does_not_depend_on_their_order(tmp_path: Path) -> None:
    logged = [record(i, timestamp=1_750_000_000) for i in range(40)]
    path = tmp_path / "log.jsonl"
    kept = []
    for order in (logged, logged[::-1], logged[20:] + logged[:20]):
        path.write_bytes(lines(order))
        kept.append(ids(read(FileLogStore(path), limit=7)))
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 7


def test_batches_are_bounded_by_rows_and_progress_reaches_its_total(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([record(i) for i in range(9_000)]))
    told: list[tuple[str, int, int | None]] = []
    store = FileLogStore(path)
    batches = list(store.read(query(), lambda stage, done, of, detail="": told.append((stage, done, of))))
    assert [batch.records.num_rows for batch in batches] == [4096, 4096, 808]
    assert total(batches) == 9_000
    assert told[-1][1] == told[-1][2]

"""From log files to documents."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from blocks.elasticsearch.documents import Document, documents_of
from flywheel.curation.batches import Refusal
from flywheel.errors import DataError
from flywheel.progress import silent
from tests.unit.curation.calls import record


def found(*paths: Path, longest: int = 100_000) -> list[Document | Refusal]:
    return list(documents_of(paths, longest, silent))


def document(tmp_path: Path, line: bytes | dict[str, Any]) -> Document:
    path = tmp_path / "log.jsonl"
    path.write_bytes(line if isinstance(line, bytes) else json.dumps(line).encode())
    [only] = found(path)
    assert isinstance(only, Document), only
    return only


def test_a_record_stays_what_it_is_with_its_unknown_fields(tmp_path: Path) -> None:
    logged = record(region="eu", tokens_in=5, latency_ms=7.5, timestamp="2025-06-15T15:06:40Z")
    assert json.loads(document(tmp_path, logged).body) == logged


@pytest.mark.parametrize(
    "timestamp",
    [1_750_000_000, 1_750_000_000.0, 1_750_000_000_000, "1750000000", "2025-06-15T17:06:40+02:00"],
)
def test_each_spelling_of_a_time_becomes_the_one_that_no_index_misreads(
    tmp_path: Path, timestamp: Any
) -> None:
    """Elasticsearch takes a bare number for milliseconds unless told otherwise: January 1970."""
    body = json.loads(document(tmp_path, record(timestamp=timestamp)).body)
    assert body["timestamp"] == "2025-06-15T15:06:40Z"


def test_a_time_is_as_exact_as_the_log_had_it(tmp_path: Path) -> None:
    body = json.loads(document(tmp_path, record(timestamp=1_750_000_000_123)).body)
    assert body["timestamp"] == "2025-06-15T15:06:40.123000Z"


def test_a_time_that_cannot_be_read_and_payloads_that_are_no_objects_are_kept_as_they_are(
    tmp_path: Path,
) -> None:
    logged = record(timestamp="soon", request=[1], response="text")
    assert json.loads(document(tmp_path, logged).body) == logged


def test_ids_are_of_the_content_not_of_its_spelling(tmp_path: Path) -> None:
    logged = record(tokens_in=5)
    backwards = dict(reversed(logged.items()))
    same = [logged, backwards, json.dumps(logged, indent=None, separators=(" ,", " : ")).encode()]
    assert len({document(tmp_path, line).id for line in same}) == 1
    others = [
        record(1),
        record(tokens_in=6),
        record(tokens_in=5, workload_id="v"),
        record(tokens_in=5, id="other"),
    ]
    assert len({document(tmp_path, line).id for line in [logged, *others]}) == 5


def test_two_records_with_one_id_of_their_own_are_two_documents(tmp_path: Path) -> None:
    """Applications number their calls from 1 after each restart."""
    assert document(tmp_path, record(1, id="1")).id != document(tmp_path, record(2, id="1")).id


def test_an_id_is_short_however_long_the_log_s_own_is(tmp_path: Path) -> None:
    made = document(tmp_path, record(id="x" * 5_000))
    assert len(made.id.encode()) <= 512
    assert json.loads(made.body)["id"] == "x" * 5_000


def test_a_document_is_one_line_whatever_its_white_space(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    request = json.dumps(record()["request"], indent=2)
    path = tmp_path / "log.parquet"
    pq.write_table(
        pa.table({"workload_id": ["w"], "request": [request], "response": ['{"a":\r\n"\\n"}']}), path
    )
    [made] = found(path)
    assert isinstance(made, Document)
    assert b"\n" not in made.body
    assert b"\r" not in made.body
    assert json.loads(made.body) == {
        "workload_id": "w",
        "request": record()["request"],
        "response": {"a": "\n"},
    }


def test_lines_that_are_no_records_are_refused_with_file_line_and_text(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        b"{oops",
        b"[1]",
        b'"\xff"',
        b"x" * 500,
        b'{"request": {"a": "\\ud800"}}',
        json.dumps(record()).encode(),
    ]
    path.write_bytes(b"\n".join(lines))
    *refused, fine = found(path, longest=450)
    assert isinstance(fine, Document) or fine.reason == "too_large"
    assert [(r.reason, r.line) for r in refused if isinstance(r, Refusal)][:4] == [
        ("not_json", 1),
        ("not_json", 2),
        ("not_utf8", 3),
        ("too_large", 4),
    ]
    assert isinstance(refused[0], Refusal)
    assert (refused[0].file, refused[0].record) == (str(path), "{oops")


def test_several_files_and_folders_are_read_and_named(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(record(1)).encode()))
    (tmp_path / "b.jsonl").write_text(json.dumps(record(2)))
    made = found(tmp_path / "logs", tmp_path / "b.jsonl")
    assert [d.file for d in made] == [str(tmp_path / "logs" / "a.jsonl.gz"), str(tmp_path / "b.jsonl")]


def test_a_file_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(record(2)))
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        next(documents_of([tmp_path / "b.jsonl", tmp_path / "nothing.jsonl"], 1_000, silent))

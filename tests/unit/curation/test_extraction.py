"""From a log to columns: counts, parts and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.arrow_columns import column
from flywheel.curation.batches import BatchBuilder, LogBatch, Refusal
from flywheel.curation.extraction import extract
from flywheel.curation.schema import EXTRACTED, EXTRACTED_FILES, REJECTED_FILE
from flywheel.errors import DataError
from flywheel.progress import silent
from flywheel.records.log_line import ReadLine, read_line, typed_line


def batch(rows: int, size: int = 0, refused: int = 0, out_of_scope: int = 0, over_limit: int = 0) -> LogBatch:
    builder = BatchBuilder()
    for number in range(rows):
        read = read_line(json.dumps({"id": str(number), "request": {"x": "y" * size}}).encode())
        assert isinstance(read, ReadLine)
        builder.add(typed_line(read), "log", number + 1)
    for number in range(refused):
        builder.refuse(Refusal("not_json", "no", "log", number + 1, "text"))
    builder.out_of_scope, builder.over_limit = out_of_scope, over_limit
    return builder.take()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=1, max_size=5))
def test_the_counts_add_up_and_every_line_is_somewhere(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int, int, int]]
) -> None:
    out = tmp_path_factory.mktemp("extracted")
    batches = [batch(rows, 0, refused, scope, limit) for rows, refused, scope, limit in sizes]
    if not any(rows for rows, _, _, _ in sizes):
        with pytest.raises(DataError, match="`flywheel workloads`"):
            extract(batches, out, silent)
        return
    counts = extract(batches, out, silent)
    assert counts["lines"] == sum(map(sum, sizes))
    assert counts["lines"] == counts["out_of_scope"] + counts["over_limit"] + counts["read"]
    rejected = (out / REJECTED_FILE).read_text().splitlines()
    assert len(rejected) == counts["invalid"] == sum(counts["reasons"].values())
    written = sum(pq.read_metadata(path).num_rows for path in out.glob(EXTRACTED_FILES))
    assert written == counts["read"] - counts["invalid"]


def test_parts_end_by_rows_and_by_bytes_so_that_memory_is_bounded(tmp_path: Path) -> None:
    extract([batch(500) for _ in range(11)], tmp_path / "rows", silent)
    rows = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "rows").glob(EXTRACTED_FILES))]
    assert rows == [2_500, 2_500, 500]
    extract([batch(1, size=1_000_000) for _ in range(18)], tmp_path / "bytes", silent)
    rows = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "bytes").glob(EXTRACTED_FILES))]
    assert rows == [8, 8, 2]


def test_an_error_while_writing_comes_up_and_is_not_left_in_a_thread(tmp_path: Path) -> None:
    wrong = LogBatch(pa.RecordBatch.from_arrays([pa.array([1])], names=["x"]))
    with pytest.raises(ValueError):
        extract([batch(1), wrong, batch(1)], tmp_path, silent)


def test_the_log_store_s_own_failure_is_the_one_that_is_seen(tmp_path: Path) -> None:
    def failing() -> Iterator[LogBatch]:
        yield batch(3)
        raise DataError("the log went away")

    with pytest.raises(DataError, match="went away"):
        extract(failing(), tmp_path, silent)


VALUES: dict[pa.DataType, st.SearchStrategy[object]] = {
    pa.string(): st.text(),
    pa.large_binary(): st.binary(),
    pa.float64(): st.floats(allow_nan=False),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.binary(16): st.binary(min_size=16, max_size=16),
}


@given(
    st.sampled_from(list(VALUES)).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.none() | VALUES[k])))
)
def test_columns_are_what_arrow_itself_would_make(kind_and_values: tuple[pa.DataType, list[object]]) -> None:
    kind, values = kind_and_values
    made = column(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


@given(st.lists(st.lists(st.binary(min_size=16, max_size=16))))
def test_columns_of_lists_are_what_arrow_itself_would_make(values: list[list[bytes]]) -> None:
    kind = pa.list_(pa.binary(16))
    made = column(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


def test_every_column_of_the_extracted_table_can_be_made() -> None:
    assert batch(0).records.schema.equals(EXTRACTED)
    with pytest.raises(TypeError):
        column([True], pa.bool_())


def test_a_log_with_nothing_to_use_is_an_error_that_says_what_was_wrong_with_its_lines(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"7 lines.*2 of them not_json"):
        extract([batch(0, refused=2, out_of_scope=5)], tmp_path, silent)

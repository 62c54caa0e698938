"""The files that `build_datasets` leaves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from flywheel.config import DataSplitConfig
from flywheel.datasets.build import FILES, INDEX_FILE, build_datasets
from flywheel.datasets.rendering_ahead import rendering_ahead
from flywheel.errors import DatasetError
from flywheel.progress import silent
from tests.unit.datasets.tables import TOOL_NAMES, Call, read_lines, write_tables

CONFIG = DataSplitConfig()
SPLITS = ("train", "train", "validation", "evaluation", "")
CALLS = [
    Call(f"r{n:03}", f"question number {n}", (*TOOL_NAMES, "")[n % 6], SPLITS[n % 5], weight=n + 1)
    for n in range(31)
]


def build_in(folder: Path, calls: list[Call], part_size: int = 4, pool_from: int = 1_000) -> Path:
    validated, assignment = write_tables(folder, calls, part_size)
    build_datasets(validated, assignment, folder / "out", CONFIG, silent, pool_from)
    return folder / "out"


def test_every_assigned_record_is_one_row_of_its_own_file(tmp_path: Path) -> None:
    out = build_in(tmp_path, CALLS)
    by_split = {split: sorted(c.record_id for c in CALLS if c.split == split) for split in FILES}
    assert [row["id"] for row in read_lines(out / FILES["evaluation"])] == by_split["evaluation"]
    for split in ("train", "validation"):
        questions = [row["messages"][1]["content"] for row in read_lines(out / FILES[split])]
        assert questions == [f"question number {int(i[1:])}" for i in by_split[split]]
    assert sorted(p.name for p in out.iterdir()) == ["base", "train"]


def test_each_row_holds_the_answer_that_production_gave(tmp_path: Path) -> None:
    out = build_in(tmp_path, CALLS)
    by_id = {call.record_id: call for call in CALLS}
    for row in read_lines(out / FILES["evaluation"]):
        call = by_id[row["id"]]
        assert row["request"] == call.request_json()
        assert answer_of(row["response"]["choices"][0]["message"]) == expected_answer(call)
    for split in ("train", "validation"):
        ids = sorted(c.record_id for c in CALLS if c.split == split)
        for record_id, row in zip(ids, read_lines(out / FILES[split]), strict=True):
            assert answer_of(row["messages"][-1]) == expected_answer(by_id[record_id])


def answer_of(message: dict[str, Any]) -> object:
    """The text, or name and arguments of each call."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return [(call["name"], call["arguments"]) for call in calls] or message["content"]


def expected_answer(call: Call) -> object:
    return [(call.tool, {"order_id": call.record_id})] if call.tool else "Happy to help."


def test_the_index_names_each_training_row_and_then_each_validation_row(tmp_path: Path) -> None:
    out = build_in(tmp_path, CALLS)
    index = read_lines(out / INDEX_FILE)
    assert {tuple(row) for row in index} == {("id", "cluster", "split")}
    rows = [*read_lines(out / FILES["train"]), *read_lines(out / FILES["validation"])]
    assert [f"question number {int(row['id'][1:])}" for row in index] == [
        r["messages"][1]["content"] for r in rows
    ]
    assert [row["split"] for row in index] == sorted(
        (row["split"] for row in index), key="train validation".find
    )


def test_the_order_of_the_log_does_not_change_a_byte(tmp_path: Path) -> None:
    shuffled = CALLS[:]
    random.Random(5).shuffle(shuffled)
    first, second = build_in(tmp_path / "a", CALLS), build_in(tmp_path / "b", shuffled, part_size=7)
    for name in (*FILES.values(), INDEX_FILE):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    alone = build_in(tmp_path / "a", CALLS)
    together = build_in(tmp_path / "b", CALLS, pool_from=1)
    for name in (*FILES.values(), INDEX_FILE):
        assert (alone / name).read_bytes() == (together / name).read_bytes(), name


def test_rows_rendered_before_the_split_was_known_are_those_rendered_after_it(tmp_path: Path) -> None:
    alone = build_in(tmp_path / "a", CALLS)
    validated, assignment = write_tables(tmp_path / "b", CALLS, 4)
    with rendering_ahead(
        validated, tmp_path / "rows", len(CALLS), CONFIG.parse_function_arguments, worth_it_from=1
    ) as rendered:
        ahead = rendered()
    assert sum(one.ends.size for one in ahead) == len(CALLS)
    build_datasets(validated, assignment, tmp_path / "out", CONFIG, silent, ahead=ahead)
    for name in (*FILES.values(), INDEX_FILE):
        assert (alone / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_of_few_records_none_is_rendered_ahead(tmp_path: Path) -> None:
    with rendering_ahead(
        tmp_path, tmp_path / "rows", len(CALLS), CONFIG.parse_function_arguments
    ) as rendered:
        assert not rendered()


def test_counts_are_those_of_the_files(tmp_path: Path) -> None:
    validated, assignment = write_tables(tmp_path, CALLS)
    counts = build_datasets(validated, assignment, tmp_path / "out", CONFIG, silent)
    for split, name in FILES.items():
        assert (
            counts["rows"][split]
            == len(read_lines(tmp_path / "out" / name))
            == sum(counts["classes"][split].values())
        )


def test_no_validation_rows_give_an_empty_file(tmp_path: Path) -> None:
    out = build_in(tmp_path, [c for c in CALLS if c.split != "validation"])
    assert (out / FILES["validation"]).read_bytes() == b""


def test_a_missing_table_says_what_to_do(tmp_path: Path) -> None:
    validated, assignment = write_tables(tmp_path, CALLS)
    with pytest.raises(DatasetError, match="run the curation again"):
        build_datasets(tmp_path / "nowhere", assignment, tmp_path / "out", CONFIG, silent)
    with pytest.raises(DatasetError, match="run the curation again"):
        build_datasets(validated, tmp_path / "nowhere", tmp_path / "out2", CONFIG, silent)

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import DataSplitConfig
from flywheel.curation.schema import DEDUPLICATED, DEDUPLICATED_FILE
from flywheel.curation.splitting.split import largest_remainder, split
from flywheel.errors import TooFewRecordsError
from flywheel.progress import silent
from tests.unit.curation.tables import assigned

Row = dict[str, Any]


def rows(*groups: tuple[int, str], start: int = 0) -> list[Row]:
    """Records in clusters of the given size and answer class."""
    found: list[Row] = []
    for place, (size, answer_class) in enumerate(groups, start):
        for _ in range(size):
            name = f"r{start:03}-{len(found):05}"
            found.append(
                {
                    "record_id": name,
                    "timestamp": float(place),
                    "answer_class": answer_class,
                    "cluster": f"c{place:05}",
                }
            )
    return [{"row": number, "weight": 1, **row} for number, row in enumerate(found)]


def run(folder: Path, table: Sequence[Row], **settings: Any) -> tuple[dict[str, Any], list[Row]]:
    source, out = folder / "in", folder / "out"
    source.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(table), schema=DEDUPLICATED), source / DEDUPLICATED_FILE)
    config = DataSplitConfig(**{"min_total_records": 1, **settings})
    return split(source, out, config, silent), assigned(out)


def sides(table: Sequence[Row]) -> dict[str, str]:
    return {row["record_id"]: row["split"] for row in table}


def test_the_evaluation_set_has_exactly_the_size_asked_for(tmp_path: Path) -> None:
    counts, table = run(tmp_path, rows(*[(1, "a")] * 70, *[(1, "b")] * 30), eval_size=20)
    assert (counts["evaluation"], counts["validation"], counts["train"]) == (20, 8, 72)
    assert Counter(sides(table).values()) == {"evaluation": 20, "validation": 8, "train": 72}


def test_each_class_keeps_its_share_on_every_side(tmp_path: Path) -> None:
    # A tenth of 180 rows is 18; a split by records alone would draw anything from 10 to 26 of them.
    for seed in range(5):
        groups = [(1, "rare")] * 18 + [(1, "no_tool")] * 162
        counts, _ = run(tmp_path, rows(*groups), eval_size=20, val_ratio=0.25, random_seed=seed)
        assert counts["classes"]["evaluation"] == {"no_tool": 18, "rare": 2}
        assert counts["classes"]["validation"] == {"no_tool": 36, "rare": 4}


def test_a_class_of_one_record_goes_to_training(tmp_path: Path) -> None:
    for seed in range(5):
        table = rows(*[(1, "a")] * 40, (1, "single"), (1, "other single"))
        counts, _ = run(tmp_path, table, eval_size=10, val_ratio=0.5, random_seed=seed)
        assert counts["classes"]["train"].keys() == {"a", "single", "other single"}


def test_two_hundred_classes_of_one_record_each_can_be_split(tmp_path: Path) -> None:
    counts, _ = run(tmp_path, rows(*[(1, f"tool{i}") for i in range(200)]), eval_size=50)
    assert (counts["evaluation"], counts["train"]) == (50, 135)


def test_one_class_alone_and_classes_of_two_can_be_split(tmp_path: Path) -> None:
    run(tmp_path, rows(*[(1, "a")] * 50), eval_size=49, val_ratio=0.5)
    counts, _ = run(tmp_path, rows(*[(1, f"tool{i % 25}") for i in range(50)]), eval_size=25)
    assert counts["evaluation"] == 25


def test_seed_zero_is_a_seed_and_another_seed_draws_another_set(tmp_path: Path) -> None:
    table = rows(*[(1, "a")] * 100)
    zero, again, one = (sides(run(tmp_path, table, random_seed=seed)[1]) for seed in (0, 0, 1))
    assert zero == again != one


def test_a_split_leaves_the_random_state_of_the_process_alone(tmp_path: Path) -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes()
    run(tmp_path, rows(*[(1, "a")] * 60), random_seed=7)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_records_that_are_added_leave_most_of_the_evaluation_set_as_it_was(tmp_path: Path) -> None:
    # Random draws would share a fifth of the rows.
    before = rows(*[(1, "a")] * 300)
    after = [{**row, "row": i} for i, row in enumerate([*before, *rows(*[(1, "a")] * 30, start=900)])]
    first, second = (sides(run(tmp_path, table, eval_size=60)[1]) for table in (before, after))
    shared = sum(second[name] == "evaluation" for name, side in first.items() if side == "evaluation")
    assert shared >= 48


def test_by_time_the_newest_clusters_are_held_out(tmp_path: Path) -> None:
    _, table = run(tmp_path, rows(*[(2, "a")] * 30), eval_size=10, method="by_time")
    held_out = {row["timestamp"] for row in table if row["split"] == "evaluation"}
    assert held_out == {25.0, 26.0, 27.0, 28.0, 29.0}


def test_by_time_a_cluster_counts_as_its_newest_record_and_none_is_oldest(tmp_path: Path) -> None:
    table = rows(*[(1, "a")] * 10, (2, "a"), (1, "a"))
    table[10]["timestamp"], table[11]["timestamp"], table[12]["timestamp"] = 0.0, 99.0, None
    _, assignment = run(tmp_path, table, eval_size=2, method="by_time")
    held_out = [row["record_id"] for row in assignment if row["split"] == "evaluation"]
    assert held_out == [table[10]["record_id"], table[11]["record_id"]]


def test_a_size_that_only_an_exchange_can_reach_is_reached(tmp_path: Path) -> None:
    for seed in range(10):
        counts, _ = run(tmp_path, rows(*[(3, "a")] * 3, *[(5, "a")] * 2), eval_size=11, random_seed=seed)
        assert counts["evaluation"] == 11


def test_validation_of_nothing_is_allowed(tmp_path: Path) -> None:
    counts, _ = run(tmp_path, rows(*[(1, "a")] * 30), eval_size=10, val_ratio=0)
    assert (counts["validation"], counts["train"]) == (0, 20)


def test_a_small_ratio_gives_one_validation_row_and_a_ratio_of_one_leaves_one_to_train_on(
    tmp_path: Path,
) -> None:
    counts, _ = run(tmp_path, rows(*[(1, "a")] * 13), eval_size=10, val_ratio=0.01)
    assert (counts["validation"], counts["train"]) == (1, 2)
    counts, _ = run(tmp_path, rows(*[(1, "a")] * 13), eval_size=10, val_ratio=1)
    assert (counts["validation"], counts["train"]) == (2, 1)
    counts, _ = run(tmp_path, rows(*[(1, "a")] * 11), eval_size=10, val_ratio=0.5)
    assert (counts["validation"], counts["train"]) == (0, 1)


def message(folder: Path, table: Sequence[Row], **settings: Any) -> str:
    with pytest.raises(TooFewRecordsError) as error:
        run(folder, table, **settings)
    return str(error.value)


def test_too_few_records_are_an_error_with_the_numbers_and_the_setting(tmp_path: Path) -> None:
    table = rows(*[(1, "a")] * 31)
    table[0]["weight"] = 382
    text = message(tmp_path, table, min_total_records=50)
    assert "412 usable records were read, 31 left after duplicates were removed" in text
    assert "data_split_config.min_total_records" in text
    assert "at most 31" in text
    assert "dedup_config.similarity_threshold" in text  # it was duplicates that made them few
    assert "dedup_config" not in message(tmp_path, rows(*[(1, "a")] * 31), min_total_records=50)


def test_an_evaluation_set_that_leaves_nothing_to_train_on_is_an_error_before_any_training(
    tmp_path: Path,
) -> None:
    # The size is checked after duplicates are removed, not before.
    text = message(tmp_path, rows(*[(1, "a")] * 60), eval_size=100)
    assert "data_split_config.eval_size 100" in text
    assert "at most 59" in text
    assert "at most 59" in message(tmp_path, rows(*[(1, "a")] * 60), eval_size=60)


def test_no_records_at_all_and_one_cluster_alone_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    assert "workload_id" in message(tmp_path, [])
    assert "similarity_threshold" in message(tmp_path, rows((60, "a")))


def test_a_size_that_whole_clusters_cannot_give_is_an_error_naming_those_they_can(tmp_path: Path) -> None:
    text = message(tmp_path, rows(*[(4, "a")] * 10), eval_size=10)
    assert "eval_size to 8 or 12" in text


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1), st.floats(0, 1))
def test_shares_add_up_and_none_is_more_than_one_off_its_proportion(
    counts: dict[str, int], part: float
) -> None:
    everything = sum(counts.values())
    total = int(everything * part)
    shares = largest_remainder(counts, total)
    assert sum(shares.values()) == total
    for name, count in counts.items():
        assert abs(shares[name] - count * total / everything) < 1
        assert shares[name] <= count


GROUPS = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 2, 3, 7]), st.sampled_from("abcd")), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(
    groups=GROUPS,
    eval_size=st.integers(1, 40),
    val_ratio=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 3),
    method=st.sampled_from(["stratified", "by_time"]),
    order=st.randoms(use_true_random=False),
)
def test_the_laws_of_a_split(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[tuple[int, str]],
    eval_size: int,
    val_ratio: float,
    seed: int,
    method: str,
    order: random.Random,
) -> None:
    table = rows(*groups)
    settings = {"eval_size": eval_size, "val_ratio": val_ratio, "random_seed": seed, "method": method}
    folder = tmp_path_factory.mktemp("split")
    sums = {0}
    for size, _ in groups:
        sums |= {total + size for total in sums}
    if eval_size not in sums - {len(table)}:
        with pytest.raises(TooFewRecordsError):
            run(folder, table, **settings)
        return
    counts, assignment = run(folder, table, **settings)
    side_of = sides(assignment)
    assert side_of.keys() == {row["record_id"] for row in table}
    assert counts["evaluation"] == eval_size == sum(side == "evaluation" for side in side_of.values())
    assert counts["train"] >= 1
    assert len({(row["cluster"], row["split"]) for row in assignment}) == len(groups)
    if val_ratio == 0:
        assert counts["validation"] == 0

    content = (folder / "out" / "assignment.parquet").read_bytes()
    order.shuffle(table)
    run(folder, table, **settings)
    assert (folder / "out" / "assignment.parquet").read_bytes() == content

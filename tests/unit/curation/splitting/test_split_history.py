from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import DataSplitConfig
from flywheel.curation.schema import DEDUPLICATED, DEDUPLICATED_FILE
from flywheel.curation.splitting.split_history import Standing, split_with_history
from flywheel.errors import TooFewRecordsError
from flywheel.progress import silent
from tests.unit.curation.splitting.test_split import rows, sides
from tests.unit.curation.splitting.test_split import run as run_first
from tests.unit.curation.tables import assigned, call, rejected, validated

Row = dict[str, Any]
NOTHING = Standing(frozenset(), frozenset(), frozenset(), renew=False, fresh_share=0.2)


def run(
    folder: Path, table: Sequence[Row], standing: Standing, **fields: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    source, out = folder / "in", folder / "out"
    source.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(table), schema=DEDUPLICATED), source / DEDUPLICATED_FILE)
    records = folder / "validated"
    if not records.exists():
        validated(records, [call(row["record_id"], row["record_id"]) for row in table])
    config = DataSplitConfig(**{"min_total_records": 1, **fields})
    counts = split_with_history(source, out, config, standing, records, silent)
    return counts, {row["record_id"]: row["split"] for row in assigned(out)}


def ids(table: Sequence[Row], places: range) -> frozenset[str]:
    return frozenset(table[place]["record_id"] for place in places)


def clusters(table: Sequence[Row], places: range) -> frozenset[str]:
    return frozenset(table[place]["cluster"] for place in places)


def on(side: str, found: dict[str, str]) -> set[str]:
    return {name for name, one in found.items() if one == side}


TABLE = rows(*[(1, "a")] * 100)
USED = NOTHING._replace(
    kept=ids(TABLE, range(10)), evaluated=clusters(TABLE, range(15)), trained=clusters(TABLE, range(15, 60))
)


def test_kept_items_are_evaluated_again_beside_a_fresh_slice_of_what_no_run_has_seen(tmp_path: Path) -> None:
    counts, sides = run(tmp_path, TABLE, USED, eval_size=10)
    evaluation = on("evaluation", sides)
    assert ids(TABLE, range(10)) <= evaluation
    assert len(evaluation) == 12
    assert evaluation - ids(TABLE, range(10)) <= ids(TABLE, range(60, 100))
    assert (counts["kept"], counts["new"], counts["fresh"], counts["held_back"]) == (10, 0, 2, 5)
    assert set(counts["fresh_ids"]) == evaluation - ids(TABLE, range(10))


def test_what_was_evaluated_and_is_not_kept_is_held_back_with_a_reason(tmp_path: Path) -> None:
    _, sides = run(tmp_path, TABLE, USED, eval_size=10)
    held = ids(TABLE, range(10, 15))
    assert not held & sides.keys()
    lines = rejected(tmp_path / "out")
    assert {line["record"]["id"] for line in lines} == held
    assert {line["reason"] for line in lines} == {"evaluated_before"}


def test_neighbours_of_kept_items_go_nowhere(tmp_path: Path) -> None:
    table = rows((3, "a"), *[(1, "a")] * 30)
    standing = NOTHING._replace(kept=ids(table, range(1)))
    counts, sides = run(tmp_path, table, standing, eval_size=1)
    assert sides[table[0]["record_id"]] == "evaluation"
    assert not ids(table, range(1, 3)) & sides.keys()
    assert counts["held_back"] == 2
    assert {line["reason"] for line in rejected(tmp_path / "out")} == {"near_evaluation"}


def test_a_larger_evaluation_set_is_filled_from_what_no_run_has_seen(tmp_path: Path) -> None:
    counts, sides = run(tmp_path, TABLE, USED, eval_size=20)
    assert (counts["kept"], counts["new"], counts["fresh"]) == (10, 10, 4)
    assert not on("evaluation", sides) & ids(TABLE, range(10, 60))


def test_where_that_is_not_enough_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TooFewRecordsError) as error:
        run(tmp_path, TABLE, USED, eval_size=60)
    text = str(error.value)
    assert "only 40 of them were never used by an earlier run" in text
    assert "needs 50 beside the 10 that are kept" in text
    assert "set it to 10" in text
    assert "history_config.keep_evaluation_set" in text


def test_a_smaller_evaluation_set_is_a_part_of_the_kept_one_and_the_same_each_time(tmp_path: Path) -> None:
    first = run(tmp_path, TABLE, USED._replace(fresh_share=0), eval_size=4)[1]
    second = run(tmp_path, TABLE, USED._replace(fresh_share=0), eval_size=4)[1]
    assert len(on("evaluation", first)) == 4
    assert on("evaluation", first) <= ids(TABLE, range(10))
    assert on("evaluation", first) == on("evaluation", second)
    assert not on("train", first) & ids(TABLE, range(10))


def test_a_worn_out_set_is_renewed_from_what_no_run_has_seen(tmp_path: Path) -> None:
    counts, sides = run(tmp_path, TABLE, USED._replace(renew=True), eval_size=10)
    assert counts["renewed"]
    assert counts["renewal_short"] is None
    assert (counts["kept"], counts["new"], counts["fresh"]) == (0, 10, 0)
    assert on("evaluation", sides) <= ids(TABLE, range(60, 100))
    assert not ids(TABLE, range(15)) & sides.keys()


def test_a_worn_out_set_stays_where_too_little_is_new_and_it_is_said(tmp_path: Path) -> None:
    used = USED._replace(renew=True, trained=clusters(TABLE, range(15, 95)))
    counts, sides = run(tmp_path, TABLE, used, eval_size=10)
    assert not counts["renewed"]
    assert counts["renewal_short"] == 5
    assert ids(TABLE, range(10)) <= on("evaluation", sides)


def test_kept_items_that_are_not_among_the_records_are_not_replaced_by_others(tmp_path: Path) -> None:
    standing = USED._replace(kept=ids(TABLE, range(8)) | {"gone-1", "gone-2"}, fresh_share=0)
    counts, _ = run(tmp_path, TABLE, standing, eval_size=10)
    assert (counts["kept"], counts["evaluation"]) == (8, 8)


def test_a_kept_item_near_to_something_trained_on_is_counted_and_its_neighbours_are_held_back(
    tmp_path: Path,
) -> None:
    table = rows((2, "a"), *[(1, "a")] * 30)
    standing = NOTHING._replace(kept=ids(table, range(1)), trained=clusters(table, range(1)))
    counts, sides = run(tmp_path, table, standing, eval_size=1)
    assert counts["kept_near_trained"] == 1
    assert table[1]["record_id"] not in sides


def test_something_is_left_to_train_on_or_it_is_an_error(tmp_path: Path) -> None:
    standing = NOTHING._replace(kept=ids(TABLE, range(10)), evaluated=clusters(TABLE, range(100)))
    with pytest.raises(TooFewRecordsError, match="nothing is left to train on"):
        run(tmp_path, TABLE, standing, eval_size=10)


def test_where_all_items_are_kept_and_nothing_is_new_the_files_are_those_of_the_first_split(
    tmp_path: Path,
) -> None:
    table = rows(*[(1, "a")] * 40, *[(2, "b")] * 10)
    _, first = run_first(tmp_path / "first", table, eval_size=12)
    held_out = on("evaluation", sides(first))
    cluster_of = {row["record_id"]: row["cluster"] for row in table}
    used = NOTHING._replace(
        kept=frozenset(held_out),
        evaluated=frozenset(cluster_of[name] for name in held_out),
        trained=frozenset(cluster_of[name] for name in cluster_of.keys() - held_out),
    )
    run(tmp_path / "second", table, used, eval_size=12)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()}
        for name in ("first", "second")
    ]
    assert files[0] == files[1]


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.tuples(st.sampled_from([1, 1, 2, 4]), st.sampled_from("ab")), min_size=4, max_size=30),
    uses=st.lists(
        st.sampled_from(["kept", "evaluated", "trained", "trained", "unseen"]), min_size=30, max_size=30
    ),
    eval_size=st.integers(1, 12),
    renew=st.booleans(),
    method=st.sampled_from(["stratified", "by_time"]),
)
def test_the_laws_of_a_split_with_history(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[tuple[int, str]],
    uses: list[str],
    eval_size: int,
    renew: bool,
    method: str,
) -> None:
    table = rows(*groups)
    use = {f"c{place:05}": uses[place] for place in range(len(groups))}
    first_of = {row["cluster"]: row["record_id"] for row in reversed(table)}
    standing = Standing(
        kept=frozenset(first_of[name] for name, how in use.items() if how == "kept"),
        evaluated=frozenset(name for name, how in use.items() if how in ("kept", "evaluated")),
        trained=frozenset(name for name, how in use.items() if how == "trained"),
        renew=renew,
        fresh_share=0.5,
    )
    folder = tmp_path_factory.mktemp("split")
    try:
        counts, sides = run(folder, table, standing, eval_size=eval_size, method=method)
    except TooFewRecordsError:
        return
    cluster_of = {row["record_id"]: row["cluster"] for row in table}
    for name, side in sides.items():
        how = use[cluster_of[name]]
        assert side != "evaluation" or how != "trained"
        assert side == "evaluation" or how not in ("kept", "evaluated")
        assert how != "evaluated"
    sides_of_cluster: dict[str, set[str]] = {}
    for name, side in sides.items():
        sides_of_cluster.setdefault(cluster_of[name], set()).add(
            "evaluation" if side == "evaluation" else "train"
        )
    assert all(len(found) == 1 for found in sides_of_cluster.values())
    assert counts["held_back"] == len(table) - len(sides)
    assert counts["train"] + counts["validation"] + counts["evaluation"] == len(sides)
    assert counts["train"] >= 1
    assert counts["kept"] + counts["new"] + counts["fresh"] == counts["evaluation"]
    assert counts["kept"] + counts["new"] <= max(eval_size, 1)

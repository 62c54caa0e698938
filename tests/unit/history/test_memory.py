from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.config import DedupConfig, HistoryConfig
from flywheel.curation.batches import LogBatch
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.schema import DEDUPLICATED_FILE, EXTRACTED
from flywheel.curation.texts.fixed_text_search import find_fixed_text
from flywheel.curation.validated_table import read_columns
from flywheel.errors import DatasetError
from flywheel.history.carry import KEPT_COLUMNS, as_extracted, with_kept
from flywheel.history.ledger import EVALUATED, LEDGER, TRAINED, known_clusters, ledger_rows, union
from flywheel.history.memory import (
    HoldoutUse,
    Memory,
    kept_ids,
    read_kept,
    read_memory,
    recall,
    write_memory,
)
from flywheel.history.standing import standing_of
from flywheel.progress import silent
from tests.unit.curation.questions import edited, question, true_jaccard
from tests.unit.curation.tables import Call, call, validated

LONG = "My parcel with the order number {} has not arrived yet although you promised it for last week, where is it now?"
OTHER = "How do I change the colour of the bicycle number {} that I configured in your shop yesterday evening, please?"


def curated(folder: Path, calls: list[Call]) -> tuple[Path, pa.Table]:
    """The validated table of these calls, and its deduplicated records."""
    records, out = validated(folder / "validated", calls), folder / "deduplicated"
    out.mkdir()
    deduplicate(records, out, DedupConfig(), silent, fixed=find_fixed_text(records))
    return records, pq.read_table(out / DEDUPLICATED_FILE)


def ledger_of(folder: Path, calls: list[Call], used: str, run_id: str = "run-1") -> pa.Table:
    records, table = curated(folder, calls)
    rows = np.asarray(table["row"], dtype=np.int64)
    return ledger_rows(records, rows, table["cluster"].to_pylist(), used, run_id, find_fixed_text(records))


def known_ids(folder: Path, calls: list[Call], ledger: pa.Table, used: str) -> set[str]:
    records, table = curated(folder, calls)
    known = known_clusters(ledger, records, table, 0.8, find_fixed_text(records))
    wanted = known.evaluated if used == EVALUATED else known.trained
    return {
        name
        for name, cluster in zip(table["record_id"].to_pylist(), table["cluster"].to_pylist(), strict=True)
        if cluster in wanted
    }


def test_a_request_that_was_used_is_known_however_the_log_is_cut(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "a", [call("r1", LONG.format(1)), call("r2", "short")], TRAINED)
    later = [call("s1", LONG.format(1)), call("s2", OTHER.format(5)), call("s3", "short")]
    assert known_ids(tmp_path / "b", later, ledger, TRAINED) == {"s1", "s3"}
    assert known_ids(tmp_path / "c", later, ledger, EVALUATED) == set()


def test_a_near_duplicate_of_what_was_used_is_known_though_the_log_no_longer_holds_that(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(tmp_path / "a", [call("r1", LONG.format(1))], EVALUATED)
    later = [call("s1", LONG.format(2)), call("s2", OTHER.format(1))]
    assert known_ids(tmp_path / "b", later, ledger, EVALUATED) == {"s1"}


def test_texts_that_have_nothing_in_common_are_not_taken_for_known(tmp_path: Path) -> None:
    words = [
        "amber",
        "birch",
        "cedar",
        "delta",
        "ember",
        "fjord",
        "grove",
        "heron",
        "iris",
        "jade",
        "kite",
        "lark",
    ]
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(words, 25)) for _ in range(200)]
    ledger = ledger_of(tmp_path / "a", [call(f"r{n}", text) for n, text in enumerate(texts[:100])], TRAINED)
    later = [call(f"s{n}", text) for n, text in enumerate(texts[100:])]
    assert len(known_ids(tmp_path / "b", later, ledger, TRAINED)) <= 2


def test_a_template_in_the_users_message_alone_makes_no_request_known(tmp_path: Path) -> None:
    template, own = question(1, words=60), [question(100 + n, words=25) for n in range(80)]
    ledger = ledger_of(tmp_path / "a", [call(f"r{n}", f"{template} {own[n]}") for n in range(40)], TRAINED)
    near = next(e for e in (edited(own[0], seed) for seed in range(99)) if true_jaccard(own[0], e) > 0.85)
    later = [call(f"s{n}", f"{template} {own[n]}") for n in range(40, 80)]
    later.append(call("near", f"{template} {near}"))
    assert known_ids(tmp_path / "b", later, ledger, TRAINED) == {"near"}


def test_the_system_prompt_alone_makes_no_request_known(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "a", [call("r1", "")], TRAINED)
    assert (
        known_ids(tmp_path / "b", [call("s1", OTHER.format(1)), call("s2", "hello")], ledger, TRAINED)
        == set()
    )


def test_a_ledger_holds_each_use_of_a_record_once_and_the_first_run_that_made_it(tmp_path: Path) -> None:
    one, two = call("r1", LONG.format(1)), call("r2", OTHER.format(1))
    first = ledger_of(tmp_path / "a", [one], TRAINED, "run-1")
    second = ledger_of(tmp_path / "b", [one, two], TRAINED, "run-2")
    third = ledger_of(tmp_path / "c", [one], EVALUATED, "run-3")
    together = union([first, second, third])
    assert sorted(zip(together["used"].to_pylist(), together["run_id"].to_pylist(), strict=True)) == [
        ("evaluated", "run-3"),
        ("trained", "run-1"),
        ("trained", "run-2"),
    ]
    assert union([]).num_rows == 0
    assert union([together, together]) == together


def extracted(folder: Path, calls: list[Call]) -> pa.Table:
    table = read_columns(validated(folder, calls, parts=1), KEPT_COLUMNS)
    return as_extracted(table, "router", "acme")


def memory(folder: Path, name: str, runs: list[str], calls: list[Call], uses: int = 1) -> Path:
    out = folder / name
    out.mkdir(parents=True)
    ledger = ledger_of(folder / f"{name} ledger", calls, EVALUATED, runs[-1])
    kept = extracted(folder / f"{name} kept", calls)
    write_memory(
        out, Memory(holdout=HoldoutUse(name, "2026-01-01T00:00:00+00:00", uses), runs=runs), kept, ledger
    )
    return out


def test_the_newest_memory_tells_the_kept_set_and_all_of_them_what_was_used(tmp_path: Path) -> None:
    one, two, three = (call(f"r{n}", text.format(n)) for n, text in enumerate([LONG, OTHER, "Hi {}"]))
    old = memory(tmp_path, "old", ["run-1"], [one])
    beside = memory(tmp_path, "beside", ["run-2"], [two])  # ran at the same time as run-3
    new = memory(tmp_path, "new", ["run-1", "run-3"], [one, three])
    out = tmp_path / "out"
    out.mkdir()
    found = recall([new, beside, old], out)
    assert found.runs == ["run-1", "run-2", "run-3"]
    assert found.holdout is not None
    assert found.holdout.name == "new"
    assert kept_ids(read_kept(out)) == ["r0", "r2"]
    assert read_memory(out) == found


def test_without_earlier_runs_there_is_an_empty_memory(tmp_path: Path) -> None:
    assert recall([], tmp_path) == Memory()
    assert read_kept(tmp_path).num_rows == 0
    assert read_kept(tmp_path).schema == EXTRACTED


def test_a_memory_of_another_schema_or_a_damaged_one_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    write_memory(tmp_path, Memory(schema=99), EXTRACTED.empty_table(), LEDGER.empty_table())
    with pytest.raises(DatasetError, match="keep_evaluation_set"):
        read_memory(tmp_path)
    (tmp_path / "memory.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_memory(tmp_path)


def test_kept_items_that_the_log_lost_are_read_all_the_same_and_no_other_twice(tmp_path: Path) -> None:
    calls = [call(f"r{n}", f"question {n}", time=float(n)) for n in range(4)]
    calls.append(call("r9", "without a time", time=None))
    kept, log = extracted(tmp_path / "kept", calls), extracted(tmp_path / "log", [*calls[1:3], calls[4]])
    added: list[int] = []
    batches = [LogBatch(batch) for batch in log.combine_chunks().to_batches(max_chunksize=1)]
    names = [
        name for batch in with_kept(batches, kept, added.append) for name in batch.records["id"].to_pylist()
    ]
    assert names == ["r1", "r2", "r9", "r0", "r3"]
    assert added == [2]


def test_a_log_without_ids_still_holds_the_kept_items(tmp_path: Path) -> None:
    log = extracted(tmp_path / "log", [call("r1", "question")])
    nameless = log.set_column(0, EXTRACTED.field("id"), pa.array([None], pa.string()))
    batches = [LogBatch(batch) for batch in nameless.to_batches()]
    assert sum(batch.records.num_rows for batch in with_kept(batches, log)) == 1


def test_a_log_that_was_moved_and_is_spelled_anew_still_holds_the_kept_items(tmp_path: Path) -> None:
    """Counted as lost they would be added, and every item of the kept set would weigh one call too many."""
    log = extracted(tmp_path / "log", [call("r1", "question"), call("r2", "another question")])
    for name in ("request", "response"):
        spaced = [
            json.dumps(dict(reversed(json.loads(text).items())), indent=1) for text in log[name].to_pylist()
        ]
        place = log.schema.get_field_index(name)
        moved = log.set_column(place, log.schema.field(name), pa.array(spaced, log.schema.field(name).type))
        batches = [LogBatch(batch) for batch in moved.to_batches()]
        assert sum(batch.records.num_rows for batch in with_kept(batches, log)) == 2


def test_nothing_is_added_to_a_log_that_has_nothing(tmp_path: Path) -> None:
    kept = extracted(tmp_path / "kept", [call("r1", "question")])
    empty = [LogBatch(batch) for batch in EXTRACTED.empty_table().to_batches()]
    assert sum(batch.records.num_rows for batch in with_kept(empty, kept)) == 0


def test_a_kept_record_stands_for_its_duplicates_though_newer_ones_are_there(tmp_path: Path) -> None:
    records = validated(
        tmp_path / "v",
        [
            call("old", LONG.format(1), time=1.0),
            call("same", LONG.format(1), time=5.0),
            call("near", LONG.format(2), time=9.0),
        ],
    )
    for kept, stands in ((frozenset(), "near"), (frozenset({"old"}), "old")):
        out = tmp_path / stands
        out.mkdir()
        deduplicate(records, out, DedupConfig(), silent, None, kept)
        [row] = pq.read_table(out / DEDUPLICATED_FILE).to_pylist()
        assert (row["record_id"], row["weight"]) == (stands, 3)


def test_a_set_is_worn_out_when_its_budget_is_spent(tmp_path: Path) -> None:
    calls = [call("r1", LONG.format(1))]
    records, _ = curated(tmp_path / "today", calls)
    for uses, worn in ((1, False), (2, True)):
        kept = memory(tmp_path, f"memory {uses}", ["run-1"], calls, uses)
        standing = standing_of(
            kept, records, tmp_path / "today" / "deduplicated", HistoryConfig(holdout_budget=2), 0.8
        )
        assert standing.renew is worn
        assert standing.kept == {"r1"}
        assert len(standing.evaluated) == 1

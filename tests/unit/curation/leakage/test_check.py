from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.config import DataSplitConfig, DedupConfig, LeakageConfig
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE
from flywheel.curation.splitting.split import split
from flywheel.errors import LeakageError, TooFewRecordsError
from flywheel.progress import silent
from tests.unit.curation.questions import edited, question
from tests.unit.curation.tables import Call, assigned, call, rejected, validated

FILLER = [call(f"train{i}", question(1_000 + i)) for i in range(5)]


def run(
    folder: Path, calls: Mapping[str, Sequence[Call]], **settings: Any
) -> tuple[dict[str, Any], dict[str, str], list[dict[str, Any]]]:
    """Certificate, sides by record id, and rejected lines, of calls by the side a careless split gave them."""
    every = [(one, side) for side, members in calls.items() for one in members]
    source, sides, out = folder / "in", folder / "split", folder / "out"
    validated(source, [one for one, _ in every])
    for path in (sides, out):
        path.mkdir(parents=True, exist_ok=True)
    rows = [
        {"row": row, "record_id": one.id, "timestamp": one.time, "answer_class": one.tool, "cluster": one.id}
        | {"weight": 1, "split": side}
        for row, (one, side) in enumerate(every)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ASSIGNMENT), sides / ASSIGNMENT_FILE)
    certificate = check_leakage(source, sides, out, LeakageConfig(**settings), silent)
    assert certificate == json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    return certificate, {row["record_id"]: row["split"] for row in assigned(out)}, rejected(out)


def methods(certificate: Mapping[str, Any]) -> set[str]:
    return {method for method, count in certificate["leaking_rows"].items() if count}


ASKED = question(1, words=20)
LONG_ANSWER = "Your parcel left our warehouse in Rotterdam on Tuesday and will arrive tomorrow."


@pytest.mark.parametrize(
    ("leak", "found_by"),
    [
        (call("leak", ASKED), "same_request"),
        (call("leak", ASKED, system="Another prompt."), "same_text"),
        (call("leak", f"  {ASKED.upper()}!?"), "same_text"),
        (call("leak", edited(ASKED, 3)), "jaccard"),
        (call("leak", f"{question(5)} {ASKED} {question(6)}"), "ngram_overlap"),
        (call("leak", ASKED, LONG_ANSWER, question(7, words=200)), "answer_in_history"),
    ],
)
def test_each_kind_of_overlap_is_found_and_removed_from_training(
    tmp_path: Path, leak: Call, found_by: str
) -> None:
    item = call("item", ASKED, answer=LONG_ANSWER)
    certificate, sides, lines = run(tmp_path, {"evaluation": [item], "train": [*FILLER, leak]})
    assert found_by in methods(certificate)
    assert "leak" not in sides
    assert certificate["leaks_removed"] == 1
    (line,) = lines
    assert (line["reason"], line["record"]["id"]) == ("leak", "leak")
    assert "evaluation item item" in line["detail"]


def test_an_earlier_turn_s_answer_standing_in_a_training_row_is_a_leak(tmp_path: Path) -> None:
    # A split by records would leave most of the evaluation answers verbatim in training.
    turns = [question(seed) for seed in range(6)]
    calls = [Call(f"turn{n}", tuple(turns[: 2 * n + 1]), answer=turns[2 * n + 1]) for n in range(3)]
    certificate, sides, _ = run(tmp_path, {"evaluation": calls[:1], "train": [*calls[1:], *FILLER]})
    assert certificate["leaking_rows"]["answer_in_history"] == 2
    assert not {"turn1", "turn2"} & sides.keys()


@pytest.mark.parametrize(
    "other",
    [
        call("other", "Anything else?", "Yes.", question(7)),  # a short answer is in many histories
        call("other", question(2), LONG_ANSWER, question(7)),  # the answer, to another question
        call("other", question(3), answer=LONG_ANSWER),  # two questions may well have one answer
        call("other", ""),
    ],
)
def test_what_many_calls_share_is_no_leak(tmp_path: Path, other: Call) -> None:
    items = [
        call("item", ASKED, answer=LONG_ANSWER),
        call("yes", question(8), answer="Yes."),
        call("empty", " "),
    ]
    certificate, sides, lines = run(tmp_path, {"evaluation": items, "train": [*FILLER, other]})
    assert methods(certificate) == set()
    assert "other" in sides
    assert lines == []


def test_an_evaluation_item_in_validation_is_a_leak_too(tmp_path: Path) -> None:
    calls = {"evaluation": [call("item", ASKED)], "train": FILLER, "validation": [call("leak", ASKED)]}
    certificate, sides, _ = run(tmp_path, calls)
    assert certificate["removed_from"] == {"train": 0, "validation": 1}
    assert certificate["validation"] == 0
    assert "validation" in certificate["notes"][0]
    assert "leak" not in sides


def test_a_leak_can_fail_the_run_with_the_numbers_and_the_setting(tmp_path: Path) -> None:
    calls = {"evaluation": [call("item", ASKED)], "train": [*FILLER, call("leak", ASKED)]}
    with pytest.raises(LeakageError, match=r"^1 training .*same_request 1.*leak and .*item item.*on_leak"):
        run(tmp_path, calls, on_leak="fail")


def test_training_that_leaks_as_a_whole_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TooFewRecordsError, match="All 1 training rows"):
        run(tmp_path, {"evaluation": [call("item", ASKED)], "train": [call("leak", ASKED)]})


def test_the_certificate_lists_the_closest_pairs_that_remain(tmp_path: Path) -> None:
    near = call("near", " ".join([*ASKED.split()[:17], *question(3, words=3).split()]))
    settings = {"similarity_threshold": 0.95, "ngram_overlap": 1.0}
    certificate, sides, _ = run(
        tmp_path, {"evaluation": [call("item", ASKED)], "train": [*FILLER, near]}, **settings
    )
    assert "near" in sides
    pairs = certificate["closest_pairs_left"]
    assert pairs[0]["evaluation_id"] == "item"
    assert pairs[0]["other_id"] == "near"
    assert 0.7 < pairs[0]["similarity"] < 1
    assert certificate["verdict"] == "clean"


def test_the_certificate_has_thresholds_counts_and_hashes_of_each_side(tmp_path: Path) -> None:
    calls = {"evaluation": [call("b", ASKED), call("a", question(2))], "train": FILLER, "validation": []}
    certificate, _, _ = run(tmp_path, calls, ngram_size=5)
    assert certificate["thresholds"]["ngram_size"] == 5
    assert certificate["pairs_compared"] == 10
    assert (certificate["evaluation"], certificate["train"]) == (2, 5)
    assert certificate["sha256"]["evaluation"]["record_ids"] == hashlib.sha256(b"a\nb").hexdigest()


def test_the_certificate_does_not_depend_on_the_order_of_the_records(tmp_path: Path) -> None:
    calls = {
        "evaluation": [call(f"item{i}", question(i)) for i in range(6)],
        "train": [*FILLER, *(call(f"t{i}", edited(question(i % 6), i)) for i in range(30))],
    }
    first, _, _ = run(tmp_path / "1", calls)
    rng = random.Random(1)
    second, _, _ = run(
        tmp_path / "2", {side: rng.sample(members, len(members)) for side, members in calls.items()}
    )
    assert first == second
    assert first["leaks_removed"] > 10


def test_nothing_leaks_through_deduplication_and_split(tmp_path: Path) -> None:
    rng = random.Random(2)
    texts = [question(seed) for seed in range(200)]
    texts += [edited(rng.choice(texts), seed) for seed in range(150)]
    source = validated(
        tmp_path / "in", [call(f"r{i}", text, system=f"p{i % 3}") for i, text in enumerate(texts)]
    )
    for name in ("dedup", "split", "out"):
        (tmp_path / name).mkdir()
    counts = deduplicate(source, tmp_path / "dedup", DedupConfig(similarity_threshold=0.6), silent)
    split(tmp_path / "dedup", tmp_path / "split", DataSplitConfig(eval_size=40), silent)
    certificate = check_leakage(
        source, tmp_path / "split", tmp_path / "out", LeakageConfig(on_leak="fail"), silent
    )
    assert certificate["leaks_removed"] == 0
    assert counts["kept"] == sum(certificate[side] for side in ("train", "validation", "evaluation"))

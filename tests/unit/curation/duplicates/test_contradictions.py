"""Requests that production answered in materially different ways."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Literal

import pytest

from flywheel.config import DataSplitConfig, DedupConfig
from flywheel.curation.duplicates.contradictions import contradictions_of, screening_of
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.funnel import check
from flywheel.curation.splitting.screening import screened
from flywheel.curation.splitting.split import split
from flywheel.errors import TooFewRecordsError
from flywheel.progress import silent
from tests.unit.curation.questions import question
from tests.unit.curation.tables import Call, assigned, call, kept, rejected, validated

Mode = Literal["keep", "drop", "majority"]
CLEAR = "The parcel is on its way and will arrive on Tuesday."
SAME = "Your parcel is on its way and will arrive on Tuesday morning."
OTHER = "I am sorry, nothing of the sort is known here."


def config(mode: Mode, **fields: Any) -> DedupConfig:
    return DedupConfig(contradictions=mode, **fields)


def answered(name: str, *answers: str, asked: str = "Where is my parcel?") -> list[Call]:
    """One request, asked an hour apart; the last answer is the newest."""
    return [
        call(f"{name}{place}", asked, answer=answer, time=1_000.0 + 3_600 * place)
        for place, answer in enumerate(answers)
    ]


def table(folder: Path, calls: list[Call], shuffled: int = 0) -> Path:
    calls = list(calls)
    random.Random(shuffled).shuffle(calls)
    return validated(folder, calls)


@pytest.mark.parametrize(
    ("answers", "contradicting", "majority"),
    [
        ((CLEAR, SAME), False, None),
        ((CLEAR, CLEAR, CLEAR), False, None),
        ((CLEAR, OTHER), True, set()),
        ((CLEAR, SAME, OTHER), True, {"a0", "a1"}),
        ((CLEAR, OTHER, CLEAR, OTHER), True, set()),
    ],
)
def test_answers_contradict_where_their_words_hardly_agree_and_more_than_half_make_a_majority(
    tmp_path: Path, answers: tuple[str, ...], contradicting: bool, majority: set[str] | None
) -> None:
    calls = answered("a", *answers)
    found = list(contradictions_of(validated(tmp_path, calls)))
    assert bool(found) is contradicting
    for one in found:
        assert {calls[row].id for row in one.rows} == {one.id for one in calls}
        assert {calls[row].id for row in one.majority} == majority


def test_the_same_call_written_otherwise_does_not_contradict(tmp_path: Path) -> None:
    records = tmp_path / "validated"
    calls = answered("a", "1", "2", "3")
    validated(records, calls, parts=1)
    written = [
        '{"city": "Bonn", "days": 2}',
        '{"days": 2.0, "city": "Bonn"}',
        '{"city": "Berlin", "days": 2}',
    ]
    for count, contradicting in ((2, False), (3, True)):
        with_calls(records, written[:count], calls)
        assert bool(list(contradictions_of(records))) is contradicting


def with_calls(records: Path, arguments: list[str], calls: list[Call]) -> None:
    """The table of the first calls, each with a tool call of these arguments in place of its answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    validated(records, calls[: len(arguments)], parts=1)
    path = records / "validated-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    for row, text in zip(rows, arguments, strict=True):
        made = {"type": "function", "function": {"name": "trip", "arguments": text}}
        row["response"] = json.dumps(
            {"choices": [{"message": {"role": "assistant", "tool_calls": [made]}}]}
        ).encode()
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)


def test_the_newest_answer_of_the_majority_stands_for_its_request(tmp_path: Path) -> None:
    calls = answered("a", CLEAR, SAME, OTHER)
    for representative, stands in (("newest", "a1"), ("oldest", "a0")):
        settings = config("majority", representative=representative)
        for shuffled in range(3):
            records = table(tmp_path / f"{representative}{shuffled}", calls, shuffled)
            screening = screening_of(records, settings)
            out = tmp_path / f"{representative}{shuffled}-out"
            out.mkdir()
            deduplicate(records, out, settings, silent, preferred=screening.preferred)
            assert [row["record_id"] for row in kept(out)] == [stands]
            assert screening.rows == frozenset()
    records = table(tmp_path / "kept", calls)
    assert screening_of(records, config("majority"), kept=["a2"]).preferred == frozenset()


def test_nothing_is_looked_at_by_default(tmp_path: Path) -> None:
    assert screening_of(tmp_path / "there is no table", DedupConfig()) == (frozenset(), frozenset())


@pytest.mark.parametrize("mode", ["drop", "majority"])
def test_training_has_no_contradicted_record_evaluation_keeps_its_items_and_counts_add_up(
    tmp_path: Path, mode: Mode
) -> None:
    calls = [one for n in range(60) for one in answered(f"t{n}-", CLEAR, OTHER, asked=question(n))]
    calls += [one for n in range(60, 90) for one in answered(f"m{n}-", CLEAR, SAME, OTHER, asked=question(n))]
    calls += [one for n in range(90, 180) for one in answered(f"s{n}-", CLEAR, asked=question(n))]
    records, out, sides = validated(tmp_path / "v", calls), tmp_path / "d", tmp_path / "s"
    out.mkdir()
    sides.mkdir()
    settings, split_by = config(mode), DataSplitConfig(eval_size=40, min_total_records=10)
    deduplicate(records, out, settings, silent, preferred=screening_of(records, settings).preferred)
    before = split(out, sides, split_by, silent)
    evaluation = [row for row in assigned(sides) if row["split"] == "evaluation"]
    counts = screened(before, sides, records, settings, {"workload_id": "w"})

    rows = assigned(sides)
    assert [row for row in rows if row["split"] == "evaluation"] == evaluation
    left = {row["record_id"][0] for row in rows if row["split"] != "evaluation"}
    assert left == ({"s"} if mode == "drop" else {"s", "m"})
    assert counts["contradicted"] > 0
    check(
        "records",
        len(kept(out)),
        {name: counts[name] for name in ("contradicted", "train", "validation", "evaluation")},
    )
    for side in ("train", "validation", "evaluation"):
        assert counts[side] == sum(row["split"] == side for row in rows)
        assert counts[side] == sum(counts["classes"][side].values())
        assert counts["clusters"][side] == len({row["cluster"] for row in rows if row["split"] == side})
    refused = rejected(sides)
    assert [line["reason"] for line in refused] == ["contradicted"] * counts["contradicted"]
    assert {line["record"]["workload_id"] for line in refused} == {"w"}


def test_a_log_of_contradictions_alone_leaves_nothing_to_train_on_and_says_so(tmp_path: Path) -> None:
    calls = [one for n in range(60) for one in answered(f"t{n}-", CLEAR, OTHER, asked=question(n))]
    records, out, sides = validated(tmp_path / "v", calls), tmp_path / "d", tmp_path / "s"
    out.mkdir()
    sides.mkdir()
    deduplicate(records, out, config("drop"), silent)
    counts = split(out, sides, DataSplitConfig(eval_size=10, min_total_records=10), silent)
    with pytest.raises(TooFewRecordsError, match="contradictions to"):
        screened(counts, sides, records, config("drop"))

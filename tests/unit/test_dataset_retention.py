"""Which datasets may go: laws over made-up stores, and the cases that the rule was made for."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flywheel.dataset_retention import Reader, StoredDataset, unreferenced, words_of
from flywheel.results import CandidateResult, Evaluation, RunResult

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, LIMIT = NOW - timedelta(days=90), NOW - timedelta(days=30)


def dataset(
    name: str, /, *parents: str, run: str = "", at: datetime = OLD, content: str = "", **key: Any
) -> StoredDataset:
    key |= {"run": run} if run else {}
    kind = name.partition("-")[0]
    return StoredDataset(name, kind, key, list(parents), [content or f"content of {name}"], at)


def reader(run_id: str, *words: str, may_go_on: bool = False) -> Reader:
    return Reader(run_id, may_go_on, frozenset(words))


def going(datasets: list[StoredDataset], *readers: Reader) -> list[str]:
    return [found.name for found in unreferenced(datasets, readers, LIMIT)]


CHAIN = [
    dataset("extracted-1", run="a"),
    dataset("validated-1", "content of extracted-1"),
    dataset("split-1", "content of validated-1"),
    dataset("datasets-1", "validated-1", "content of split-1"),
]


def test_what_no_run_names_goes_and_what_a_named_dataset_was_made_from_stays() -> None:
    assert going(CHAIN) == ["datasets-1", "extracted-1", "split-1", "validated-1"]
    assert going(CHAIN, reader("another", "datasets-1")) == []
    assert going(CHAIN, reader("another", "split-1")) == ["datasets-1"]


def test_what_was_used_lately_stays_with_what_it_was_made_from() -> None:
    young = dataset("icl-1", "content of validated-1", at=NOW)
    assert going([*CHAIN, young]) == ["datasets-1", "split-1"]


def test_a_run_under_way_keeps_what_it_will_find_although_another_run_made_it_and_nobody_names_it() -> None:
    """The same log, extracted anew: all that follows is found, however old, and only named when curation is over."""
    again = dataset("extracted-2", run="b", content="content of extracted-1")
    others = dataset("memory-1", "content of split-1", run="a")
    assert going([*CHAIN, again, others], reader("b", may_go_on=True)) == ["extracted-1", "memory-1"]
    assert going([*CHAIN, again], reader("b")) == ["datasets-1", "extracted-1", "split-1", "validated-1"]


def test_answers_of_a_candidate_that_is_not_done_belong_to_the_run_by_the_name_they_were_asked_under() -> (
    None
):
    answers = dataset("predictions-1", name="run-b-alpha-base-eval-0123")
    assert going([answers], reader("run-b", may_go_on=True)) == []
    assert going([answers], reader("run-b")) == ["predictions-1"]


def test_of_memories_the_one_counts_that_the_run_names_and_what_was_recalled_stays_as_long_as_the_run() -> (
    None
):
    store = [dataset("memory-1", run="a"), dataset("memory-2", run="a"), dataset("history-1", run="a")]
    assert going(store, reader("a", "memory-2")) == ["memory-1"]
    assert going(store, reader("other")) == ["history-1", "memory-1", "memory-2"]


def test_a_parent_that_lost_records_by_an_erasure_is_still_known_by_what_it_was() -> None:
    parent = StoredDataset("split-1", "split", {}, [], ["now", "before"], OLD)
    assert going([parent, dataset("datasets-1", "before")], reader("a", "datasets-1")) == []


def test_names_are_found_wherever_in_a_run_they_stand() -> None:
    evaluation = Evaluation("base-eval", "m", predictions="s3://b/c/predictions-0123456789abcdef/p.jsonl")
    run = RunResult("a", "w", "c", "completed", "2026-01-01", memory="/home/memory-0123456789abcdef")
    run.datasets["split"] = "file:///x/split-0123456789abcdef"
    run.candidates.append(CandidateResult("a", "m", "completed", [evaluation]))
    kinds = {"predictions", "memory", "split"}
    assert {f"{kind}-0123456789abcdef" for kind in kinds} <= words_of(run)


NAMES = [f"kind-{n}" for n in range(6)]


def a_store(seed: int) -> list[StoredDataset]:
    """Datasets each made from earlier ones, by name or by content, some of equal content."""
    draw = random.Random(seed)
    found = []
    for place, name in enumerate(NAMES):
        before = [*NAMES[:place], *(f"content {n}" for n in range(3))]
        parents = draw.sample(before, draw.randint(0, 2))
        content = draw.choice([f"content {place % 3}", f"content of {name}"])
        run = draw.choice(["", "run-a", "run-b"])
        found.append(dataset(name, *parents, run=run, at=draw.choice([OLD, NOW]), content=content))
    return found


@given(st.integers(0, 2**32).map(a_store), st.sets(st.sampled_from(NAMES)), st.booleans())
def test_nothing_goes_that_is_named_young_or_needed_and_a_second_look_finds_nothing(
    store: list[StoredDataset], named: set[str], may_go_on: bool
) -> None:
    run = reader("run-a", *named, may_go_on=may_go_on)
    gone = set(going(store, run))
    staying = [found for found in store if found.name not in gone]
    assert not gone & named
    assert all(
        found.used_at < LIMIT and found.key.get("run") != "run-a" for found in store if found.name in gone
    )
    there = {called for found in store for called in (found.name, *found.contents)}
    left = {called for found in staying for called in (found.name, *found.contents)}
    assert {parent for found in staying for parent in found.parents} & there <= left
    assert going(staying, run) == []

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.config import DedupConfig
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.progress import silent
from tests.unit.curation.questions import edited, question, true_jaccard
from tests.unit.curation.tables import Call, call, kept, rejected, validated


def run(
    folder: Path, calls: Sequence[Call], **settings: Any
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The counts, and what is kept by record id."""
    out = folder / "out"
    out.mkdir(parents=True)
    counts = deduplicate(validated(folder / "in", calls), out, DedupConfig(**settings), silent)
    return counts, {row["record_id"]: row for row in kept(out)}


def near(text: str, least: float = 0.82, seed: int = 0) -> str:
    """An edit of one word that leaves the texts near-duplicates."""
    return next(
        e
        for e in (edited(text, s) for s in range(seed, seed + 99))
        if e != text and true_jaccard(text, e) >= least
    )


def test_exact_repeats_become_the_newest_one_with_their_number_as_weight(tmp_path: Path) -> None:
    calls = [call(f"r{i}", question(1), time=float(time)) for i, time in enumerate([5, 9, 7])]
    counts, rows = run(tmp_path, [*calls, call("other", question(2))])
    assert {name: row["weight"] for name, row in rows.items()} == {"r1": 3, "other": 1}
    assert counts["exact_duplicates"] == 2
    assert rows["r1"]["row"] == 1


def test_the_oldest_can_stand_for_its_repeats(tmp_path: Path) -> None:
    calls = [call(f"r{i}", question(1), time=time) for i, time in enumerate([None, 9.0, 7.0])]
    _, rows = run(tmp_path, calls, representative="oldest")
    assert list(rows) == ["r2"]


def test_of_equally_new_repeats_the_first_id_stands_for_them(tmp_path: Path) -> None:
    _, rows = run(tmp_path, [call(name, question(1)) for name in "cab"])
    assert list(rows) == ["a"]


def test_two_system_prompts_are_two_requests_in_one_cluster(tmp_path: Path) -> None:
    # A key made of the user's texts alone would make one row of them.
    _, rows = run(
        tmp_path, [call("a", question(1), system="Route."), call("b", question(1), system="Translate.")]
    )
    assert list(rows) == ["a", "b"]
    assert rows["a"]["cluster"] == rows["b"]["cluster"]


def test_two_steps_of_one_agent_turn_are_two_requests(tmp_path: Path) -> None:
    # Same user text; the second request has the tool's result as well.
    first = call("a", question(1))
    second = Call(
        "b", (question(1), "calling look_up", '{"status": "late"}'), roles=("user", "assistant", "tool")
    )
    _, rows = run(tmp_path, [first, second])
    assert list(rows) == ["a", "b"]


def test_a_small_step_after_a_long_history_is_not_merged_with_the_step_before(tmp_path: Path) -> None:
    history = [question(seed, words=40) for seed in range(5)]
    _, rows = run(tmp_path, [call("a", *history), call("b", *history, "Fine.", "Go on.")])
    assert list(rows) == ["a", "b"]
    assert rows["a"]["cluster"] == rows["b"]["cluster"]


def test_a_long_shared_history_does_not_merge_two_questions(tmp_path: Path) -> None:
    history = [question(seed, words=40) for seed in range(6)]
    _, rows = run(
        tmp_path, [call("a", *history, "Cancel order 17."), call("b", *history, "When do you open today?")]
    )
    assert list(rows) == ["a", "b"]
    assert rows["a"]["cluster"] == rows["b"]["cluster"]


def test_a_shared_history_with_nearly_the_same_question_is_merged(tmp_path: Path) -> None:
    asked = question(9)
    _, rows = run(
        tmp_path, [call("a", "Hi.", "Hello ü!", asked, time=1.0), call("b", "Hi.", "Hello ü!", near(asked))]
    )
    assert list(rows) == ["b"]


def test_near_duplicates_are_merged_and_the_rejected_file_says_with_whom(tmp_path: Path) -> None:
    text = question(3)
    counts, rows = run(tmp_path, [call("new", text, time=2.0), call("old", near(text), time=1.0)])
    assert list(rows) == ["new"]
    assert rows["new"]["weight"] == 2
    assert counts["near_duplicates"] == 1
    (line,) = rejected(tmp_path / "out")
    assert line["reason"] == "near_duplicate"
    assert "record new" in line["detail"]
    assert f"{true_jaccard(text, near(text)):.3f}" in line["detail"]
    assert line["record"]["request"]["messages"][1]["content"] == near(text)
    assert (line["file"], line["line"]) == ("calls.jsonl", 2)


def test_without_merging_near_duplicates_stay_in_one_cluster(tmp_path: Path) -> None:
    text = question(3)
    _, rows = run(tmp_path, [call("a", text), call("b", near(text))], merge_near_duplicates=False)
    assert rows["a"]["cluster"] == rows["b"]["cluster"]


def test_a_chain_is_merged_only_with_what_it_is_itself_similar_to(tmp_path: Path) -> None:
    # a ~ b ~ c, but a and c are two edits apart: c stays, in the same cluster.
    a = question(4, words=16)
    b = near(a, 0.8)
    c = next(e for e in (edited(b, s) for s in range(500)) if true_jaccard(b, e) >= 0.8 > true_jaccard(a, e))
    calls = [
        call(name, text, time=time) for name, text, time in (("a", a, 3.0), ("b", b, 2.0), ("c", c, 1.0))
    ]
    _, rows = run(tmp_path, calls)
    assert list(rows) == ["a", "c"]
    assert rows["a"]["cluster"] == rows["c"]["cluster"]


def test_short_texts_are_near_only_when_equal_and_empty_ones_never(tmp_path: Path) -> None:
    texts = {"a": "yes", "b": "yes", "c": "no", "d": "", "e": ""}
    calls = [call(name, text, system=name) for name, text in texts.items()]
    _, rows = run(tmp_path, calls)
    cluster = {name: row["cluster"] for name, row in rows.items()}
    assert cluster["a"] == cluster["b"]
    assert len(set(cluster.values())) == 4


def test_turns_of_a_conversation_are_one_cluster_by_its_id(tmp_path: Path) -> None:
    calls = [call(f"t{i}", question(i), conversation="c1") for i in range(3)]
    _, rows = run(tmp_path, [*calls, call("x", question(7), conversation="c2"), call("y", question(8))])
    assert len({rows[f"t{i}"]["cluster"] for i in range(3)}) == 1
    assert len({row["cluster"] for row in rows.values()}) == 3


def test_turns_of_a_conversation_are_one_cluster_by_what_was_said(tmp_path: Path) -> None:
    # No conversation id, and unlike as texts: the second begins with the first and its answer.
    first = call("t1", "Hi.", answer=question(1))
    second = call("t2", "Hi.", question(1), question(2), answer=question(3))
    third = call("t3", *second.turns, question(3), question(4))
    other = call("o1", "Hi there.", answer=question(1))
    _, rows = run(tmp_path, [third, other, first, second])
    assert rows["t1"]["cluster"] == rows["t2"]["cluster"] == rows["t3"]["cluster"] != rows["o1"]["cluster"]


def test_an_id_used_twice_keeps_the_newest_content(tmp_path: Path) -> None:
    calls = [
        call("x", question(1), time=1.0),
        call("x", question(2), time=2.0),
        call("x", question(2), time=1.5),
    ]
    counts, rows = run(tmp_path, calls)
    assert rows["x"]["row"] == 1
    assert rows["x"]["weight"] == 2
    assert counts["invalid"] == 1
    reasons = [(line["reason"], line["line"]) for line in rejected(tmp_path / "out")]
    assert reasons == [("duplicate_id", 1), ("exact_duplicate", 3)]


def test_one_request_with_several_answers_is_reported_as_teacher_noise(tmp_path: Path) -> None:
    calls = [
        *(call(f"noisy{i}", question(1), answer=f"Answer {i % 2}") for i in range(4)),
        *(call(f"steady{i}", question(2)) for i in range(3)),
        call("alone", question(3)),
        *(call("delivered twice", question(4)) for _ in range(2)),
    ]
    noise = run(tmp_path, calls)[0]["teacher_noise"]
    assert (noise["repeated_requests"], noise["with_different_answers"], noise["share"]) == (2, 1, 0.5)
    (example,) = noise["examples"]
    assert example["answers"] == 2
    assert {name[:5] for name in example["record_ids"]} == {"noisy"}
    assert len(example["record_ids"]) == 2


def test_an_empty_table_gives_empty_files(tmp_path: Path) -> None:
    counts, rows = run(tmp_path, [])
    assert not rows
    assert counts["kept"] == counts["exact_duplicates"] == 0
    assert rejected(tmp_path / "out") == []


def test_a_bucket_of_thousands_of_equal_texts_is_one_cluster(tmp_path: Path) -> None:
    calls = [
        call(f"r{i:04}", "Please go on with the usual procedure.", system=f"Prompt {i}") for i in range(3_000)
    ]
    counts, _ = run(tmp_path, calls)
    assert (counts["kept"], counts["clusters"], counts["largest_cluster"]) == (3_000, 1, 3_000)


def test_planted_near_repeats_are_found_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = [question(seed) for seed in range(1_500)]
    planted = {f"edit{i}": (rng.randrange(1_500), seed) for i, seed in enumerate(range(600))}
    calls = [call(f"base{i}", text, system="s") for i, text in enumerate(texts)]
    calls += [
        call(name, edited(texts[base], seed), system="s", time=1.0) for name, (base, seed) in planted.items()
    ]
    _, rows = run(tmp_path, calls)
    wanted = {
        n: b for n, (b, seed) in planted.items() if true_jaccard(texts[b], edited(texts[b], seed)) >= 0.8
    }
    assert len(wanted) > 500
    missed = [n for n, b in wanted.items() if n in rows and rows[n]["cluster"] != rows[f"base{b}"]["cluster"]]
    assert len(missed) <= 0.01 * len(wanted)
    assert sum(name.startswith("base") for name in rows) == 1_500


CALLS = st.lists(
    st.builds(
        lambda seed, edit, system, time, conversation, name: Call(
            f"id{name}",
            (edited(question(seed), edit) if edit else question(seed),),
            system=system,
            time=time,
            conversation=conversation,
            answer=str(name % 3),
        ),
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from(["s", "t"]),
        st.sampled_from([None, 1.0, 2.0, 3.0]),
        st.sampled_from([None, None, "c1", "c2"]),
        st.integers(0, 12),
    ),
    max_size=24,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(calls=CALLS, order=st.randoms(use_true_random=False), merge=st.booleans())
def test_the_order_of_the_records_does_not_matter_and_the_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Call], order: random.Random, merge: bool
) -> None:
    shuffled = [replace(one) for one in calls]
    order.shuffle(shuffled)
    results = []
    for sample in (calls, shuffled):
        folder = tmp_path_factory.mktemp("run")
        counts, _ = run(folder, sample, merge_near_duplicates=merge)
        table = [{k: v for k, v in row.items() if k != "row"} for row in kept(folder / "out")]
        results.append(
            (counts, table, sorted((r["reason"], r["record"]["id"]) for r in rejected(folder / "out")))
        )
        assert counts["kept"] + counts["exact_duplicates"] + counts["near_duplicates"] + counts[
            "invalid"
        ] == len(calls)
        assert sum(row["weight"] for row in table) == len(calls) - counts["invalid"]
        assert len(rejected(folder / "out")) == len(calls) - counts["kept"]
    assert results[0] == results[1]

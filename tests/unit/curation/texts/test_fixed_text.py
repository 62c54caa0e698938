from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import DataSplitConfig, DedupConfig, LeakageConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE
from flywheel.curation.splitting.split import split
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, WINDOW, FixedText
from flywheel.curation.texts.fixed_text_search import find_fixed_text, fixed_text_in, fixed_text_of
from flywheel.curation.texts.shingles import Words, window_hashes
from flywheel.curation.validated_table import text_bytes
from flywheel.progress import silent
from tests.unit.curation.questions import edited, question, true_jaccard
from tests.unit.curation.tables import Call, assigned, call, kept, validated

BEFORE, BEHIND = question(1, words=45), question(2, words=15)


def in_template(own: str) -> str:
    return f"{BEFORE} {own} {BEHIND}"


def fixed_in(texts: Sequence[str]) -> FixedText:
    return fixed_text_in(column(list(texts), pa.string()))


def deduplicated(folder: Path, calls: Sequence[Call], **settings: Any) -> tuple[dict[str, Any], Path]:
    """The counts, and the directory of the validated table; `folder/out` has what is kept."""
    source, out = validated(folder / "in", calls), folder / "out"
    out.mkdir()
    config = DedupConfig(**settings)
    return deduplicate(source, out, config, silent, fixed=fixed_text_of(source, config)), source


def test_requests_that_share_sixty_of_sixty_five_words_are_requests_of_their_own(tmp_path: Path) -> None:
    calls = [call(f"r{i:02}", in_template(question(100 + i, words=5))) for i in range(80)]
    counts, source = deduplicated(tmp_path, calls)
    assert (counts["kept"], counts["clusters"]) == (80, 80)
    assert counts["fixed_text"]["records"] == 80
    assert counts["fixed_text"]["share_of_text"] == pytest.approx(60 / 65, abs=0.02)
    (shown,) = counts["fixed_text"]["examples"]
    assert shown.startswith(BEFORE)

    for name in ("split", "checked"):
        (tmp_path / name).mkdir()
    split(tmp_path / "out", tmp_path / "split", DataSplitConfig(eval_size=20), silent)
    certificate = check_leakage(
        source,
        tmp_path / "split",
        tmp_path / "checked",
        LeakageConfig(on_leak="fail"),
        silent,
        fixed=find_fixed_text(source),
    )
    assert certificate["leaks_removed"] == 0
    left_out = certificate["fixed_text_left_out"]
    assert left_out["records"] == certificate["train"] + certificate["validation"] == 60
    assert left_out["examples"] == counts["fixed_text"]["examples"]


def test_the_setting_compares_requests_as_they_stand(tmp_path: Path) -> None:
    calls = [call(f"r{i:02}", in_template(question(100 + i, words=5))) for i in range(80)]
    counts, _ = deduplicated(tmp_path, calls, leave_out_fixed_text=False)
    assert counts["kept"] == 1
    assert counts["fixed_text"] == {"records": 0, "share_of_text": 0.0, "examples": []}


@pytest.mark.parametrize(
    "template",
    [
        "{before} {own}",
        "{own} {before}",
        "{before} {own} {behind} {more} {behind}",
        "Ergänze für das Ticket – und nur dafür – die Felder: «{own}» {before}",
    ],
    ids=["behind it", "before it", "twice in it", "in another script"],
)
def test_what_is_left_is_what_each_request_has_of_its_own(template: str) -> None:
    own = [question(100 + i, words=6) for i in range(60)]
    texts = [
        template.format(before=BEFORE, behind=BEHIND, own=words, more=question(500 + i, words=6))
        for i, words in enumerate(own)
    ]
    left = fixed_in(texts).own_texts(texts)
    for text, words, mine in zip(texts, own, left, strict=True):
        assert words in mine
        assert len(mine) < 0.5 * len(text)


def test_several_templates_under_one_system_prompt_are_all_found() -> None:
    templates = [question(seed, words=60) for seed in (1, 2, 3)]
    texts = [f"{templates[min(i % 10, 2)]} {question(100 + i, words=5)}" for i in range(240)]  # 1 : 1 : 8
    fixed = fixed_in(texts)
    assert fixed.examples
    assert max(map(len, fixed.own_texts(texts))) < 60


@pytest.mark.parametrize(
    "texts",
    [
        [edited(BEFORE, i) for i in range(80)],
        [edited(edited(BEFORE, i), 1_000 + i) for i in range(80)],
        [f"{BEFORE} {edited(question(7, words=25), i)}" for i in range(80)],
        [in_template(str(40_000 + i)) for i in range(80)],
        [f"{question(i, words=20)} Thank you so much for your help." for i in range(80)],
        [question(i) for i in range(300)],
        [in_template(question(i)) for i in range(19)],
        [],
    ],
    ids=["one word", "two words", "a beginning", "number", "closing words", "unlike", "too few", "none"],
)
def test_versions_of_one_text_and_what_is_short_or_rare_are_no_template(texts: list[str]) -> None:
    # versions of one question are near-duplicates, and have to stay so
    assert not fixed_in(texts)


def test_repeats_of_a_question_are_merged_inside_a_template_as_they_are_without(tmp_path: Path) -> None:
    rng = random.Random(4)
    base = [question(100 + i, words=35) for i in range(150)]
    planted = {f"edit{i}": (rng.randrange(150), i) for i in range(100)}
    own = {f"base{i}": text for i, text in enumerate(base)}
    own |= {name: edited(base[place], seed) for name, (place, seed) in planted.items()}
    # far enough from the threshold for the boundary with the template not to decide
    wanted = {n for n, (place, _) in planted.items() if true_jaccard(base[place], own[n]) >= 0.82}
    assert len(wanted) > 60

    calls = [call(name, in_template(text), time=float(name[:4] == "base")) for name, text in own.items()]
    deduplicated(tmp_path, calls)
    rows = {row["record_id"] for row in kept(tmp_path / "out")}
    assert len(wanted & rows) <= 0.01 * len(wanted)
    assert {name for name in own if name.startswith("base")} <= rows


def test_the_turns_of_conversations_are_no_template(tmp_path: Path) -> None:
    # Each turn repeats all that was said before it: most of one text, but in one conversation.
    said = [question(seed, words=20) for seed in range(79)]
    calls = [Call(f"t{n:02}", tuple(said[: 2 * n + 1])) for n in range(40)]
    assert not find_fixed_text(validated(tmp_path, calls))


def test_the_order_of_the_records_does_not_matter(tmp_path: Path) -> None:
    calls = [
        *(call(f"a{i:03}", in_template(question(100 + i, words=5)), time=float(i)) for i in range(300)),
        *(
            call(f"b{i:03}", f"{question(3, words=50)} {question(900 + i)}", system="Other.")
            for i in range(40)
        ),
        *(call(f"c{i:03}", question(2_000 + i), time=float(i)) for i in range(100)),
    ]
    results = []
    for seed in range(2):
        order = random.Random(seed).sample(calls, len(calls))
        counts, _ = deduplicated(tmp_path / str(seed), order)
        rows = [{k: v for k, v in row.items() if k != "row"} for row in kept(tmp_path / str(seed) / "out")]
        results.append((counts, rows))
    assert results[0] == results[1]
    assert results[0][0]["fixed_text"]["records"] == 340


def test_a_text_with_nothing_of_its_own_is_compared_as_it_stands(tmp_path: Path) -> None:
    calls = [call(f"r{i:02}", in_template(question(100 + i, words=5))) for i in range(40)]
    empty = [call(f"e{i}", f"{BEFORE}  {BEHIND}", system=f"Prompt {i}") for i in range(3)]
    counts, _ = deduplicated(tmp_path, [*calls, *empty])
    cluster = {row["record_id"]: row["cluster"] for row in kept(tmp_path / "out")}
    assert len({cluster[f"e{i}"] for i in range(3)}) == 1
    assert counts["clusters"] == 41


def test_a_last_message_that_is_fixed_still_merges_the_conversations_before_it(tmp_path: Path) -> None:
    def turns(own: str) -> tuple[str, ...]:
        return own, "Understood.", BEFORE

    own = [question(100 + i, words=30) for i in range(40)]
    calls = [call(f"r{i:02}", *turns(text), time=2.0) for i, text in enumerate(own)]
    near = next(e for e in (edited(own[0], s) for s in range(99)) if true_jaccard(own[0], e) > 0.84)
    counts, _ = deduplicated(tmp_path, [*calls, call("near", *turns(near), time=1.0)])
    assert (counts["fixed_text"]["records"], counts["near_duplicates"], counts["kept"]) == (41, 1, 40)


@pytest.mark.parametrize("sign", ["", "Übergrößenträger "], ids=["letters", "more than letters"])
def test_a_leak_inside_a_template_is_found_and_the_template_alone_is_none(tmp_path: Path, sign: str) -> None:
    own = f"{sign}{question(50, words=30)}"
    rows = {
        "train": [call(f"t{i}", in_template(question(100 + i, words=20))) for i in range(40)],
        "evaluation": [call("item", in_template(own))],
        "leak": [
            call("near", in_template(edited(own, 3))),
            call("inside", in_template(f"{question(60)} {own} {question(61)}"), system="Another prompt."),
            call("same", in_template(own.upper()), system="Another prompt."),
        ],
    }
    every = [(one, side) for side, calls in rows.items() for one in calls]
    source = validated(tmp_path / "in", [one for one, _ in every])
    sides = [
        {"row": row, "record_id": one.id, "timestamp": one.time, "answer_class": one.tool, "cluster": one.id}
        | {"weight": 1, "split": "train" if side == "leak" else side}
        for row, (one, side) in enumerate(every)
    ]
    for name in ("split", "out"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.Table.from_pylist(sides, schema=ASSIGNMENT), tmp_path / "split" / ASSIGNMENT_FILE)
    fixed = find_fixed_text(source)
    certificate = check_leakage(
        source, tmp_path / "split", tmp_path / "out", LeakageConfig(), silent, None, fixed
    )
    left = {row["record_id"] for row in assigned(tmp_path / "out") if row["split"] == "train"}
    assert left == {one.id for one in rows["train"]}
    assert certificate["leaks_removed"] == 3


LETTERS = st.text(alphabet="abcdefghij klmnopäöü漢字\n", max_size=60)


@settings(max_examples=100, deadline=None)
@given(own=st.lists(LETTERS, max_size=8), template=st.text(alphabet="uvwxyzé ", min_size=WINDOW, max_size=80))
def test_what_is_cut_is_the_fixed_text_and_nothing_else(own: list[str], template: str) -> None:
    fixed = FixedText(fixed_windows(template))
    texts = [f"{text}{template}{text}" for text in own]
    for text, left in zip(own, fixed.own_texts(texts), strict=True):
        if text.strip():
            assert left.replace(" ", "") == f"{text}{text}".replace(" ", "")
            assert len(left.encode()) <= 2 * len(text.encode()) + 1
        else:
            assert left == f"{text}{template}{text}"


def fixed_windows(template: str) -> Words:
    return window_hashes(np.frombuffer(template.encode(), dtype=np.uint8), WINDOW)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(LETTERS | st.just(BEFORE), max_size=8))
def test_marks_move_with_their_texts(texts: list[str]) -> None:
    fixed = FixedText(fixed_windows(BEFORE))
    data, offsets = text_bytes(column(texts, pa.string()))
    middle = (offsets[:-1] + offsets[1:]) // 2
    for one in (fixed, NO_FIXED_TEXT):
        (cut, places, marks), left_out = one.cut(data, offsets, middle)
        assert cut.size == places[-1]
        assert left_out.bytes == data.size - cut.size
        assert (places[:-1] <= marks).all()
        assert (marks <= places[1:]).all()
    assert (places == offsets).all()


@settings(max_examples=30, deadline=None)
@given(seeds=st.sets(st.integers(0, 10_000), max_size=60), repeats=st.integers(0, 15))
def test_where_nothing_is_shared_nothing_is_left_out(seeds: set[int], repeats: int) -> None:
    texts = [question(seed) for seed in sorted(seeds)]
    texts += [edited(text, seed) for seed, text in enumerate(texts[:repeats])]
    assert fixed_in(texts).own_texts(texts) == texts

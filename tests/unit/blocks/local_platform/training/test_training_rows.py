"""Reading training rows and laying them out behind what they share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.local_platform.models.chat_format import ChatFormat, Example
from blocks.local_platform.training.training_rows import Packed, pack, passes, read_rows
from flywheel.errors import DatasetError
from tests.fakes.toy_model import write_toy_model

EXAMPLES = st.lists(
    st.builds(
        Example,
        st.tuples(
            st.sampled_from([list(range(60)), list(range(30))]),
            st.lists(st.integers(60, 65), min_size=1, max_size=5),
        ).map(lambda pair: [*pair[0], *pair[1]]),
        st.lists(st.integers(70, 99), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=9,
)


def unpacked(packed: Packed) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Each row as its tokens and its (position in the row, target) pairs."""
    rows, start, done = [], packed.prefix, 0
    for length in packed.lengths:
        tokens = packed.tokens[: packed.prefix] + packed.tokens[start : start + length]
        pairs = []
        while done < len(packed.predictors) and packed.predictors[done] < start + length:
            pairs.append((packed.predictors[done] - start + packed.prefix, packed.targets[done]))
            done += 1
        rows.append((tokens, pairs))
        start += length
    return rows


@given(EXAMPLES)
def test_packing_loses_and_invents_nothing(examples: list[Example]) -> None:
    for (prompt, answer), (tokens, pairs) in zip(examples, unpacked(pack(examples)), strict=True):
        assert tokens == [*prompt, *answer][:-1]
        # Loss on the answer's tokens alone, each predicted from the token before it.
        assert pairs == [(len(prompt) - 1 + place, token) for place, token in enumerate(answer)]


@given(EXAMPLES, st.integers(1, 400))
def test_passes_hold_every_answer_once_and_keep_their_bound(examples: list[Example], most: int) -> None:
    packed = passes(examples, most)
    answers = sorted(token for part in packed for token in part.targets)
    assert answers == sorted(token for example in examples for token in example.answer)
    assert all(len(part.tokens) <= most or len(part.lengths) == 1 for part in packed)


def test_rows_that_begin_alike_share_what_they_begin_with() -> None:
    examples = [Example([*range(50), 90 + row], [7, 8]) for row in range(4)]
    (packed,) = passes(examples)
    assert packed.prefix == 50
    assert len(packed.tokens) == 50 + 4 * 2


@pytest.fixture(scope="module")
def chat_format(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    return ChatFormat(write_toy_model(tmp_path_factory.mktemp("model")))


def row(question: str, answer: str | None = "Yes.") -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns if answer is not None else turns[:1], "tools": []})


def test_rows_that_cannot_be_used_are_counted_with_the_reason(
    chat_format: ChatFormat, tmp_path: Path
) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text("\n".join([row("short"), row("x" * 500), row("no answer", None), ""]))
    rows = read_rows(path, chat_format, longest=200)
    assert len(rows.examples) == 1
    assert sorted(rows.skipped.values()) == [1, 1]
    assert any("max_seq_length" in reason for reason in rows.skipped)


def test_a_row_that_is_exactly_as_long_as_allowed_is_used(chat_format: ChatFormat, tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text(row("short"))
    length = sum(map(len, read_rows(path, chat_format, 10_000).examples[0]))
    assert len(read_rows(path, chat_format, length).examples) == 1
    assert len(read_rows(path, chat_format, length - 1).examples) == 0


def test_a_damaged_file_names_the_line(chat_format: ChatFormat, tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text(row("fine") + "\n{broken")
    with pytest.raises(DatasetError, match="line 2"):
        read_rows(path, chat_format, 200)


def test_a_missing_validation_file_has_no_rows(chat_format: ChatFormat, tmp_path: Path) -> None:
    assert read_rows(tmp_path / "validation.jsonl", chat_format, 200).examples == []

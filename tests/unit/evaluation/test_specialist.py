"""Items that a candidate has learned from do not count as understood."""

from __future__ import annotations

from flywheel.evaluation.specialist import not_learned
from flywheel.results import EvalItem
from tests.unit.curation.questions import question


def asked(name: str, text: str) -> EvalItem:
    return EvalItem(name, {"messages": [{"role": "user", "content": text}]}, {}, name)


def learned(text: str) -> dict[str, object]:
    return {
        "messages": [
            {"role": "system", "content": "Route the request."},
            {"role": "user", "content": text},
            {"role": "assistant", "content": "fine"},
        ]
    }


LATE = "Where is my order AC-1234? It was promised for last Tuesday and nobody writes back to me."


def test_copies_and_near_copies_of_training_rows_are_left_out_and_others_stay() -> None:
    items = [
        asked("copy", LATE),
        asked("near", LATE.replace("Tuesday", "Thursday")),
        asked("other", "I would like to send back the blue scarf that I bought for my sister."),
    ]
    rows = [learned(LATE), learned("Please change my address to Elm Street 4.")]
    assert [item.id for item in not_learned(items, rows)] == ["other"]


def test_a_template_that_all_prompts_share_makes_none_of_them_a_copy() -> None:
    template, own = question(1, words=60), [question(100 + n, words=12) for n in range(60)]
    rows = [learned(f"{template} {words}") for words in own[:40]]
    items = [asked(f"new{n}", f"{template} {words}") for n, words in enumerate(own[40:])]
    kept = not_learned([*items, asked("copy", f"{template} {own[0]}")], rows)
    assert [item.id for item in kept] == [item.id for item in items]


def test_without_training_every_item_is_asked() -> None:
    items = [asked("a", LATE)]
    assert not_learned(items, []) == items
    assert not_learned([], [learned(LATE)]) == []

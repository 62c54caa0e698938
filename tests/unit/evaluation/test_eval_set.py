"""The name of an evaluation set."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evaluation.eval_set import eval_set_of
from flywheel.results import EvalItem

ITEMS = [
    EvalItem(f"item-{n}", {"messages": [{"role": "user", "content": f"{n}"}], "seed": 0}, {"id": f"{n}"}, "c")
    for n in range(6)
]


@given(st.permutations(ITEMS))
def test_the_order_of_items_does_not_matter(items: list[EvalItem]) -> None:
    assert eval_set_of(items) == eval_set_of(ITEMS)


def test_the_same_items_in_other_company_are_the_same_set() -> None:
    others = [msgspec.structs.replace(item, cluster="d", weight=7) for item in ITEMS]
    assert eval_set_of(others) == eval_set_of(ITEMS)
    assert len(eval_set_of(ITEMS)) == 16


def test_the_order_of_fields_does_not_matter_and_their_content_does() -> None:
    swapped = dict(reversed(ITEMS[0].request.items()))
    assert eval_set_of([msgspec.structs.replace(ITEMS[0], request=swapped), *ITEMS[1:]]) == eval_set_of(ITEMS)
    for change in ({"id": "other"}, {"request": {}}, {"response": {}}):
        assert eval_set_of([msgspec.structs.replace(ITEMS[0], **change), *ITEMS[1:]]) != eval_set_of(ITEMS)
    assert eval_set_of(ITEMS[1:]) != eval_set_of(ITEMS)
    assert eval_set_of([*ITEMS, ITEMS[0]]) != eval_set_of(ITEMS)

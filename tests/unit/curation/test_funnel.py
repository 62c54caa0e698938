"""The funnel adds up, or says that it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.curation.funnel import OPTIONAL, READ_AS, funnel_of
from flywheel.curation.schema import FUNNEL
from flywheel.errors import FlywheelError

COUNTS = st.integers(0, 10**6)


@given(st.dictionaries(st.sampled_from(READ_AS), COUNTS), COUNTS, COUNTS, COUNTS)
def test_counts_that_add_up_make_a_funnel(
    shares: dict[str, int], unreadable: int, others: int, over: int
) -> None:
    read = sum(shares.values()) + unreadable
    extracted = {"lines": read + others + over, "out_of_scope": others, "over_limit": over, "read": read}
    funnel = funnel_of(
        {**extracted, "invalid": unreadable}, {"invalid": shares.get("invalid", 0)}, shares | {"invalid": 0}
    )
    assert tuple(funnel) == tuple(name for name in FUNNEL if name not in OPTIONAL or name in shares)
    assert funnel["invalid"] == unreadable + shares.get("invalid", 0)
    assert funnel["read"] == sum(funnel.get(name, 0) for name in READ_AS)


def test_the_leakage_check_counts_the_splits_again() -> None:
    funnel = funnel_of(
        {"lines": 3, "read": 3}, {"train": 2, "evaluation": 1}, {"train": 1, "leaks_removed": 1}
    )
    assert funnel["train"] == 1


@pytest.mark.parametrize(
    "counts",
    [
        {"lines": 4, "read": 3, "train": 3},
        {"lines": 3, "read": 3, "train": 2},
        {"lines": 3, "read": 3, "train": 4},
    ],
)
def test_a_lost_record_is_an_error_with_the_numbers(counts: dict[str, int]) -> None:
    with pytest.raises(FlywheelError, match="do not add up") as raised:
        funnel_of(counts)
    assert raised.value.exit_code == 1

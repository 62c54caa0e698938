"""Claims on GPU slots: everybody gets a turn, nobody gets what is not there, and the day is packed well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu_slots import (
    ESTIMATED,
    KNOWN,
    SLOTS,
    UNKNOWN,
    Work,
    day,
    lower_bound,
    one_after_another,
    simulate,
)
from flywheel.scheduling.slots import Claim, startable

CLAIMS = st.lists(
    st.builds(
        Claim,
        id=st.uuids().map(str),
        slots=st.integers(1, 8),
        since=st.floats(0, 100_000),
        expected_seconds=st.floats(1, 100_000),
    ),
    max_size=12,
    unique_by=lambda claim: claim.id,
)


@given(CLAIMS, st.integers(0, 8))
def test_what_starts_fits_into_what_is_free(claims: list[Claim], free: int) -> None:
    slots = {claim.id: claim.slots for claim in claims}
    assert sum(slots[started] for started in startable(claims, free, now=100_000)) <= free


@given(CLAIMS.filter(bool), st.floats(100_000, 200_000))
def test_somebody_starts_when_all_slots_are_free(claims: list[Claim], now: float) -> None:
    assert startable(claims, 8, now)


@given(CLAIMS, st.integers(0, 8), st.randoms())
def test_the_order_in_which_claims_are_listed_decides_nothing(claims: list[Claim], free: int, luck) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(claims)
    luck.shuffle(shuffled)
    assert startable(claims, free, 100_000) == startable(shuffled, free, 100_000)


def test_a_small_claim_fills_a_gap_that_the_large_one_does_not_fit_into() -> None:
    claims = [Claim("large", 4, since=0), Claim("small", 1, since=10)]
    assert startable(claims, 2, now=20) == ["small"]


def test_after_its_patience_a_large_claim_is_passed_by_nobody_younger() -> None:
    claims = [Claim("large", 4, since=0), Claim("small", 1, since=150)]
    assert startable(claims, 2, now=160, patience=100) == []
    assert startable(claims, 4, now=170, patience=100) == ["large"]


@given(st.integers(2, 8), st.integers(60, 600))
def test_an_endless_stream_of_small_claims_cannot_starve_a_large_one(slots: int, seconds: int) -> None:
    """Small work keeps coming, enough to fill every slot; the large claim comes in the middle of it."""
    stream = [Work(number * seconds / slots, 1, seconds) for number in range(60 * slots)]
    large = Work(5.5 * seconds, slots, seconds)
    patience = 3.0 * seconds
    started = simulate([*stream, large], slots, patience).at[len(stream)]
    # Its patience; what is left of its generation, one slot each; and the last that still holds one.
    assert started - large.arrives <= patience + seconds * (patience / seconds + 2)


@pytest.mark.parametrize("seed", range(5))
def test_over_a_day_everybody_is_served_whatever_the_order_of_arrival(seed: int) -> None:
    works = day(seed, UNKNOWN, candidates=40, spread_seconds=86_400)
    assert len(simulate(works).at) == 40


def test_a_simulated_day_is_within_fifteen_percent_of_the_lower_bound() -> None:
    days = [day(seed, KNOWN) for seed in range(100)]
    ratios = sorted(simulate(works).makespan / lower_bound(works) for works in days)
    assert ratios[50] < 1.10
    assert ratios[90] < 1.15
    assert all(one_after_another(works) > 2 * simulate(works).makespan for works in days)
    assert max(work.slots for works in days for work in works) <= SLOTS // 2


def test_a_first_nights_estimates_pack_a_day_nearly_as_well() -> None:
    nights = [day(seed, ESTIMATED) for seed in range(100)]
    ratios = sorted(simulate(works).makespan / lower_bound(works) for works in nights)
    assert ratios[50] < 1.10
    assert ratios[80] < 1.15

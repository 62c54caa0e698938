"""Off-peak windows, in zones that change their clocks."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from flywheel.config.schedule import DAYS, WindowConfig
from flywheel.scheduling.windows import never_closes, next_opening, open_at, openings

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
CLOCKS = st.integers(0, 24 * 60 - 1).map(lambda minutes: f"{minutes // 60:02d}:{minutes % 60:02d}")
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@st.composite
def windows(draw: st.DrawFn) -> WindowConfig:
    begin = draw(CLOCKS)
    end = draw(st.one_of(CLOCKS, st.just("24:00")).filter(lambda end: end != begin))
    days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True))
    return WindowConfig(hours=f"{begin}-{end}", timezone=draw(st.sampled_from(ZONES)), days=days)


def local_clock(window: WindowConfig, moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(window.timezone)).strftime("%H:%M")


@given(windows(), MOMENTS)
def test_openings_are_in_order_apart_and_not_empty(window: WindowConfig, moment: datetime) -> None:
    found = list(openings(window, moment))
    assert found
    assert all(opening.begins < opening.ends for opening in found)
    assert all(before.ends < after.begins for before, after in itertools.pairwise(found))


@given(windows(), MOMENTS)
def test_a_window_that_is_closed_is_open_when_the_next_one_begins_and_not_a_second_sooner(
    window: WindowConfig, moment: datetime
) -> None:
    assume(not never_closes(window))
    now = open_at(window, moment)
    following = next_opening(window, moment)
    assert following.begins > moment
    assert open_at(window, following.begins) is not None
    assert open_at(window, following.begins - timedelta(seconds=1)) is None
    if now is not None:
        assert now.begins <= moment < now.ends
        assert open_at(window, now.ends) is None
        assert now.ends < following.begins


@given(windows(), MOMENTS)
def test_the_local_clock_lies_within_the_hours_unless_a_change_of_the_clocks_is_near(
    window: WindowConfig, moment: datetime
) -> None:
    """A second witness, which reads the clock and computes nothing."""
    zone = ZoneInfo(window.timezone)
    offsets = {(moment + timedelta(hours=h)).astimezone(zone).utcoffset() for h in range(-26, 27)}
    if len(offsets) > 1:
        return
    begin, _, end = window.hours.partition("-")
    clock, today = local_clock(window, moment), moment.astimezone(zone).weekday()
    yesterday = (today - 1) % 7
    expected = (
        (DAYS[today] in window.days and begin <= clock < end)
        if begin < end
        else (DAYS[today] in window.days and clock >= begin)
        or (DAYS[yesterday] in window.days and clock < end)
    )
    assert (open_at(window, moment) is not None) == expected


@given(MOMENTS)
def test_without_hours_it_never_closes(moment: datetime) -> None:
    assert open_at(WindowConfig(), moment) is not None


@given(MOMENTS, st.sampled_from(ZONES))
def test_all_of_every_day_never_closes(moment: datetime, zone: str) -> None:
    opening = open_at(WindowConfig(hours="00:00-24:00", timezone=zone), moment)
    assert opening is not None
    assert opening.ends == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "begins", "ends"),
    [
        ("22:00-06:00", "2026-03-28T21:00", "2026-03-29T04:00"),  # seven hours in the night of the change
        ("02:30-06:00", "2026-03-29T01:00", "2026-03-29T04:00"),  # 02:30 is skipped: from the change on
        ("01:00-02:30", "2026-03-29T00:00", "2026-03-29T01:00"),  # its end is skipped: to the change
    ],
)
def test_the_night_in_which_an_hour_is_skipped(hours: str, begins: str, ends: str) -> None:
    window = WindowConfig(hours=hours, timezone="Europe/Berlin")
    opening = next_opening(window, datetime(2026, 3, 28, 20, tzinfo=UTC))
    assert opening.begins == datetime.fromisoformat(begins).replace(tzinfo=UTC)
    assert opening.ends == datetime.fromisoformat(ends).replace(tzinfo=UTC)


def test_hours_that_are_skipped_whole_do_not_open_that_day() -> None:
    window = WindowConfig(hours="02:15-02:45", timezone="Europe/Berlin")
    opening = next_opening(window, datetime(2026, 3, 28, 20, tzinfo=UTC))
    assert opening.begins == datetime(2026, 3, 30, 0, 15, tzinfo=UTC)


def test_in_the_night_in_which_an_hour_comes_twice_the_first_counts() -> None:
    window = WindowConfig(hours="02:30-06:00", timezone="Europe/Berlin")
    opening = next_opening(window, datetime(2026, 10, 24, 20, tzinfo=UTC))
    assert opening.begins == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert opening.ends == datetime(2026, 10, 25, 5, 0, tzinfo=UTC)


def test_whole_days_that_touch_are_one_opening() -> None:
    window = WindowConfig(hours="00:00-24:00", days=["sat", "sun"])
    opening = next_opening(window, datetime(2026, 6, 1, tzinfo=UTC))
    assert opening.ends - opening.begins == timedelta(days=2)


@pytest.mark.parametrize(
    "wrong",
    [{"hours": "22:00-22:00"}, {"hours": "25:00-06:00"}, {"hours": "22-6"}, {"timezone": "Mars/Base"}],
)
def test_a_wrong_window_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        WindowConfig.model_validate(wrong)

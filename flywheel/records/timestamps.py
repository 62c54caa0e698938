"""Times as logs write them, to seconds since 1970 in UTC.

Numbers are told apart by size, so a time is never read in the wrong unit unseen:

    below 1e11   seconds            (1e11 s would be the year 5138)
    below 1e14   milliseconds
    below 1e17   microseconds
    below 1e20   nanoseconds

Text is a number or ISO 8601; without a zone it is UTC. A time outside the years 2000 to 2099 is a clock that
was never set, or a mistaken unit: it is refused, since it would decide what is newest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flywheel.errors import DataError

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e20, 1_000_000_000))
_DIGITS_OF_A_DATE = 8  # 20240131


def to_seconds(value: Any) -> float:
    """Seconds since 1970 in UTC, of a number, text or `datetime`.

    Raises:
        DataError: Not a time, or not one between 2000 and 2099.
    """
    if type(value) is float and EARLIEST <= value < LATEST:
        return value  # nearly every log
    seconds = _read(value)
    if not EARLIEST <= seconds < LATEST:
        raise DataError(f"timestamp {_shown(value)} is {_describe(seconds)}, outside 2000 to 2099")
    return seconds


def to_iso(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond where there are any."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _read(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return _from_number(value)
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, datetime):
        return _from_datetime(value)
    raise DataError(
        f"timestamp {_shown(value)} is not a time: expected epoch seconds, milliseconds or ISO 8601"
    )


def _from_number(value: float) -> float:
    for bound, divisor in _UNITS:
        if -bound < value < bound:
            return value / divisor
    raise DataError(f"timestamp {_shown(value)} is not a time")


def _from_text(value: str) -> float:
    text = value.strip()
    try:
        if not (text.isdigit() and len(text) == _DIGITS_OF_A_DATE):
            return _from_number(float(text))
    except ValueError:
        pass
    try:
        return _from_datetime(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"timestamp {_shown(value)} is not a time: expected epoch seconds, milliseconds or ISO 8601"
        ) from error


def _from_datetime(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _describe(seconds: float) -> str:
    try:
        return f"in the year {datetime.fromtimestamp(seconds, UTC).year}"
    except (ValueError, OverflowError, OSError):
        return "in no year of the calendar"


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "of 40 digits or more"
    return text if len(text) <= 40 else text[:40] + "…"

"""Numbers as people read them: signs, units, ranges; a dash where something is unknown."""

from __future__ import annotations

from flywheel.findings.analysis import Bounds, Difference
from flywheel.results import Score

UNKNOWN = "–"


def score_text(score: Score | None) -> str:
    """ "0.812 [0.70, 0.89]", or "–" where nothing was scored."""
    if score is None or score.value is None:
        return UNKNOWN
    interval = f" [{score.interval.low:.2f}, {score.interval.high:.2f}]" if score.interval else ""
    return f"{score.value:.3f}{interval}"


def by_traffic_text(score: Score | None) -> str:
    """The same of the mean by traffic; empty where every item stands for as many calls."""
    if score is None or score.by_traffic is None:
        return ""
    interval = score.by_traffic.interval
    return f"{score.by_traffic.value:.3f} [{interval.low:.2f}, {interval.high:.2f}]"


def milliseconds(value: float | None) -> str:
    """A latency for people: "840 ms", "2.4 s", or "–" where it is unknown."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def duration(seconds: float | None) -> str:
    """A time for people: "48 s", "12 minutes", "2.0 hours"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def signed(value: float | None, digits: int = 3) -> str:
    """ "+0.012"; a true minus sign."""
    if value is None:
        return UNKNOWN
    return f"{value:+.{digits}f}".replace("-", "−")


def difference_text(difference: Difference) -> str:
    """ "−0.050 [−0.12, +0.02]", with the p-value (adjusted for several candidates, where it is) behind it."""
    if difference.value is None:
        return UNKNOWN
    text = signed(difference.value)
    if difference.interval:
        text += f" [{signed(difference.interval.low, 2)}, {signed(difference.interval.high, 2)}]"
    return text


def p_text(difference: Difference) -> str:
    """The p-value that counts: adjusted for several candidates, else the plain one."""
    value = difference.p_adjusted if difference.p_adjusted is not None else difference.p_value
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float | None) -> str:
    """ "12.5 %"."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def figure(value: float | None, digits: int = 2) -> str:
    """A plain number, or "–"."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def money(value: float | None, currency: str = "USD") -> str:
    """ "12.40 USD"; small amounts with three significant digits."""
    if value is None:
        return UNKNOWN
    amount = f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
    return f"{amount} {currency}".replace("-", "−")


def money_range(bounds: Bounds | None, currency: str = "USD") -> str:
    """ "120.00 to 140.00 USD"."""
    if bounds is None:
        return UNKNOWN
    return f"{money(bounds.low, currency).removesuffix(' ' + currency)} to {money(bounds.high, currency)}"


def days_range(bounds: Bounds | None) -> str:
    """ "12 to 30 days", "never" where it is not paid back."""
    if bounds is None:
        return UNKNOWN
    low, high = (_days(value) for value in (bounds.low, bounds.high))
    return low if low == high else f"{low.removesuffix(' days')} to {high}"


def _days(value: float) -> str:
    return "never" if value == float("inf") else f"{value:,.0f} days"

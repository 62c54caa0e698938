"""A verdict for each evaluation: surfaced, not surfaced, or too early to tell.

A candidate is surfaced where it is surely not worse than production by more than the margin. Both directions have to
be shown: that a difference was not seen is no proof that there is none, so a small evaluation set says "cannot tell",
and with how many items it could. Items without a score count as wrong where a candidate would be surfaced and as right
where it would be turned down: what is not known speaks for nobody. Several verdicts are adjusted together.

Sources: Food and Drug Administration 2016, Non-Inferiority Clinical Trials (margin and one-sided level); Holm 1979.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flywheel.config import ThresholdsConfig
from flywheel.findings.analysis import Bounds, Ceiling, Difference, Outcome, Verdict
from flywheel.verdicts.contenders import Contender, Standard
from flywheel.verdicts.estimates import (
    Against,
    Apart,
    Estimate,
    Scored,
    items_to_decide,
    mean_of,
    paired,
    tail_above,
    tail_below,
)
from flywheel.verdicts.multiplicity import holm
from flywheel.verdicts.thresholds import Failing, failing_thresholds


class _Tested(msgspec.Struct, frozen=True):
    """One contender's difference to production, and how sure it is on either side of the margin."""

    contender: Contender
    estimate: Estimate | None
    not_worse: (
        float  # one-sided p-value against "worse by the margin or more", unscored items counted as wrong
    )
    worse: float  # ... against "not worse by the margin", unscored items counted as right
    not_worse_if_scored: float  # as `not_worse`, over scored items alone
    worse_if_scored: float

    def open_for_unscored(self, tail: float) -> bool:
        """Whether items without a score alone keep this from being decided: more of their kind would not help."""
        return self.not_worse_if_scored <= tail < self.not_worse or self.worse_if_scored <= tail < self.worse


def verdicts_of(
    contenders: Sequence[Contender], standard: Standard, thresholds: ThresholdsConfig, level: float = 0.95
) -> list[Verdict]:
    """One verdict for each contender, in their order.

    Args:
        level: Confidence level of two-sided intervals; either error of a verdict has half of what is left of 1.
    """
    tested = [_tested(contender, standard, thresholds.margin) for contender in contenders]
    not_worse = holm([test.not_worse for test in tested])
    worse = holm([test.worse for test in tested])
    return [
        _verdict(test, p_not_worse, p_worse, standard.ceiling, thresholds, level, len(tested))
        for test, p_not_worse, p_worse in zip(tested, not_worse, worse, strict=True)
    ]


def difference_to(scored: Scored, standard: Standard) -> Estimate | None:
    """The candidate's score minus production's; None where no item has a score."""
    if standard.replayed is not None:
        return paired(scored, standard.replayed)
    mean = mean_of(scored)
    if mean is None:
        return None
    if standard.noise is not None:
        return Apart(mean, standard.noise)
    return Against(mean, standard.ceiling.value)


def _tested(contender: Contender, standard: Standard, margin: float) -> _Tested:
    scored = contender.scored
    estimate = difference_to(scored, standard)
    if estimate is None:
        return _Tested(contender, None, 1.0, 1.0, 1.0, 1.0)
    not_worse, worse = if_scored = tail_above(estimate, -margin), tail_below(estimate, -margin)
    if scored.unscored:
        wrong = difference_to(scored.filled(0.0), standard)
        right = difference_to(scored.filled(1.0), standard)
        assert wrong is not None
        assert right is not None
        not_worse, worse = tail_above(wrong, -margin), tail_below(right, -margin)
    return _Tested(contender, estimate, not_worse, worse, *if_scored)


def _verdict(
    test: _Tested,
    p_not_worse: float,
    p_worse: float,
    ceiling: Ceiling,
    thresholds: ThresholdsConfig,
    level: float,
    comparisons: int,
) -> Verdict:
    contender, estimate, margin = test.contender, test.estimate, thresholds.margin
    unscored = contender.scored.unscored
    if estimate is None:
        return Verdict(
            candidate=contender.candidate,
            eval_type=contender.eval_type,
            metric=contender.primary,
            outcome="cannot_tell",
            margin=margin,
            difference=Difference(None, 0),
            reason=f"None of its {unscored} items has a score.",
            unscored=unscored,
        )
    tail = (1 - level) / 2
    failing = failing_thresholds(contender, thresholds, level)
    surely_not_worse, surely_worse = p_not_worse <= tail, p_worse <= tail
    outcome, reason = _outcome(surely_not_worse, surely_worse, failing)
    needed = None
    if not surely_not_worse and not surely_worse:
        needed = items_to_decide(estimate, -margin, tail / comparisons)
        needed = None if needed is None else max(needed, estimate.n + 1)
        if test.open_for_unscored(tail):
            needed = None  # more items of this kind would be as unscored as these
        reason = reason or _why_undecided(test, tail, needed, margin)
    low, high = estimate.bounds(tail)
    two_sided = min(1.0, 2 * min(tail_above(estimate, 0.0), tail_below(estimate, 0.0)))
    mean = mean_of(contender.scored)
    assert mean is not None
    return Verdict(
        candidate=contender.candidate,
        eval_type=contender.eval_type,
        metric=contender.primary,
        outcome=outcome,
        margin=margin,
        difference=Difference(estimate.value, estimate.n, Bounds(low, high), p_value=two_sided),
        reason=f"{_comparison(contender, mean.value, estimate, ceiling, tail)} "
        f"{reason or _why(outcome, margin, level)}",
        items_needed=needed if outcome == "cannot_tell" else None,
        score=mean.value,
        score_interval=Bounds(*mean.bounds(tail)),
        unscored=unscored,
        p_not_worse=test.not_worse,
        p_adjusted=p_not_worse,
    )


def _outcome(surely_not_worse: bool, surely_worse: bool, failing: Failing) -> tuple[Outcome, str]:
    """The outcome, and the reason where a threshold gives it."""
    if failing.missed:
        return "not_surfaced", " ".join(failing.missed)
    if surely_worse:
        return "not_surfaced", ""
    if not surely_not_worse:
        return "cannot_tell", ""
    if failing.unknown:
        return "cannot_tell", " ".join(failing.unknown)
    return "surfaced", ""


def _why(outcome: Outcome, margin: float, level: float) -> str:
    if outcome == "surfaced":
        return f"It is not worse by more than {points(margin)}, as sure as {level:.0%}."
    return f"It is worse by more than {points(margin)}, as sure as {level:.0%}."


def _why_undecided(test: _Tested, tail: float, needed: int | None, margin: float) -> str:
    unscored = test.contender.scored.unscored
    if test.open_for_unscored(tail):
        were = "wrong, it could" if test.not_worse_if_scored <= tail else "right, it need not"
        return (
            f"{unscored} items have no score; were they {were} be worse by more than {points(margin)}. Mend what "
            "keeps them from being answered and evaluate again."
        )
    if test.not_worse <= tail:
        text = "Alone it would be surfaced; among so many candidates that may be luck."
    elif test.worse <= tail:
        text = f"Alone it would be worse by more than {points(margin)}; among so many candidates that may be luck."
    else:
        text = f"It is open whether it is worse by more than {points(margin)}."
    if needed is None:
        return f"{text} It is so close to the margin that no reasonable number of items would decide."
    return f"{text} About {needed} items would decide, if what was seen holds."


def _comparison(contender: Contender, score: float, estimate: Estimate, ceiling: Ceiling, tail: float) -> str:
    low, high = estimate.bounds(tail)
    held_against = {
        "replayed": "production asked again",
        "teacher_noise": "production's agreement with itself in the log",
        "assumed": "production's answers",
    }[ceiling.source]
    by_traffic = " by traffic" if len(set(contender.scored.weights)) > 1 else ""
    return (
        f"Score {score:.3f}{by_traffic}; {points(estimate.value, signed=True)} "
        f"[{100 * low:+.1f}, {100 * high:+.1f}] beside {held_against} ({ceiling.value:.3f}), n = {estimate.n}."
    )


def points(share: float, *, signed: bool = False) -> str:
    """A difference of scores for people: "5 points", "-3.2 points"."""
    number = f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}".removesuffix(".0")
    return f"{number} point" if number == "1" else f"{number} points"

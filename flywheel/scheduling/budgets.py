"""What candidates have used and are expected to use, and whether that still fits into a budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from flywheel.config import BudgetConfig, CandidateConfig, PriceConfig
from flywheel.cost.prices import price_of, tokens_price
from flywheel.rerun import PartConfig
from flywheel.results import CandidateResult, RunResult, Used


def gpu_use(candidate: CandidateConfig, prices: Sequence[PriceConfig], slots: int, seconds: float) -> Used:
    """GPU-hours of so many slots for so long, and what they cost; no slots cost nothing."""
    hours = slots * seconds / 3600
    return Used(hours, _gpu_money(candidate, prices, hours))


def with_used(run: RunResult, name: str, more: Used) -> RunResult:
    """`run` with so much more on the account of that name; money that is not known makes the account's unknown."""
    before = run.used.get(name, Used())
    money = None if before.money is None or more.money is None else before.money + more.money
    return msgspec.structs.replace(
        run, used=run.used | {name: Used(before.gpu_hours + more.gpu_hours, money)}
    )


def expected_use(
    candidate: CandidateConfig,
    slots: int,
    budget: BudgetConfig,
    prices: Sequence[PriceConfig],
    earlier: Iterable[RunResult],
) -> Used:
    """What a candidate is taken to need: what it used the last time it was completed, else what the settings say.

    Args:
        slots: GPU slots that it holds at most.
        earlier: Runs of the workload, newest first. What did single stages again says nothing of the whole.
    """
    for run in earlier:
        used = run.used.get(candidate.name)
        if used is not None and all(
            result.candidate != candidate.name for result in run.candidates
        ):  # a judge
            return Used(used.gpu_hours, _gpu_money(candidate, prices, used.gpu_hours))
        if run.part.get("stages"):
            continue
        for result in run.candidates:
            same = result.candidate == candidate.name and result.model_name == candidate.model
            if same and result.status == "completed" and candidate.name in run.used:
                hours = run.used[candidate.name].gpu_hours
                asked = _answers_money(candidate, result, prices)
                return Used(hours, _sum([_gpu_money(candidate, prices, hours), asked]))
    hours = slots * budget.expected_gpu_hours
    price = price_of(prices, [candidate.name, candidate.model])
    if price is not None and price.gpu_hour is not None and price.input_per_1k is None:
        return Used(hours, hours * price.gpu_hour + (price.fine_tune or 0.0) * candidate.customize)
    return Used(hours, budget.expected_money)


def used_by(run: RunResult, candidates: Mapping[str, CandidateConfig], prices: Sequence[PriceConfig]) -> Used:
    """Everything that a run has used, and what is set aside for its candidates while it is running.

    Money counts as far as it is known: what was used without a known price adds GPU-hours alone. What a rerun took over
    counts in the run that paid for it.
    """
    hours, money = 0.0, 0.0
    for used in run.used.values():
        hours, money = hours + used.gpu_hours, money + (used.money or 0.0)
    for result in run.candidates:
        candidate = candidates.get(result.candidate) or CandidateConfig(
            name=result.candidate, model=result.model_name or "unknown"
        )
        money += _answers_money(candidate, _done_in(run, result), prices) or 0.0
    if run.status == "running":
        for expected in run.expected.values():
            hours, money = hours + expected.gpu_hours, money + (expected.money or 0.0)
    return Used(hours, money)


def _done_in(run: RunResult, result: CandidateResult) -> CandidateResult:
    """The result without evaluations and a fine-tune that a rerun took over from an earlier run."""
    if not run.is_rerun:
        return result
    part = PartConfig.model_validate(run.part)
    began = datetime.fromisoformat(run.started_at)
    asked = [e for e in result.evaluations if e.started_at and datetime.fromisoformat(e.started_at) >= began]
    trained = part.wants_training and (not part.only_candidates or result.candidate in part.only_candidates)
    customization = result.customization if trained else None
    return msgspec.structs.replace(result, evaluations=asked, customization=customization)


def in_month_of(moment: datetime, run: RunResult) -> bool:
    """Whether the run began in the calendar month of `moment`, which is in UTC."""
    return run.started_at[:7] == f"{moment:%Y-%m}"


def refusal(
    candidate: str, need: Used, budget: BudgetConfig, run: Used, month: Used, currency: str
) -> str | None:
    """Why the candidate does not start; None where everything fits.

    Args:
        run, month: What the run and all runs of the month have used or set aside so far, the run's in both.
    """
    bounds = (
        ("run", "gpu_hours_per_run", run, "GPU-hours"),
        ("month", "gpu_hours_per_month", month, "GPU-hours"),
        ("run", "money_per_run", run, currency),
        ("month", "money_per_month", month, currency),
    )
    for whose, name, used, unit in bounds:
        bound = getattr(budget, name)
        if bound is None:
            continue
        gpu = unit == "GPU-hours"
        needed = need.gpu_hours if gpu else need.money
        if needed is None:
            return (
                f"Not started: budget_config.{name} bounds money and what {candidate} costs is not known. Give its "
                "price in analysis_config.prices, or budget_config.expected_money."
            )
        left = bound - (used.gpu_hours if gpu else used.money or 0.0)
        if needed > left + 1e-9:
            return (
                f"Not started: {candidate} is expected to need {needed:.3g} {unit}, and of the {whose}'s {bound:g} "
                f"(budget_config.{name}) {max(0.0, left):.3g} are left."
            )
    return None


def _gpu_money(candidate: CandidateConfig, prices: Sequence[PriceConfig], hours: float) -> float | None:
    if not hours:
        return 0.0
    price = price_of(prices, [candidate.name, candidate.model])
    if price is None:
        return None
    if price.gpu_hour is None:
        return 0.0 if price.input_per_1k is not None else None  # tokens are what is paid
    return hours * price.gpu_hour


def _answers_money(
    candidate: CandidateConfig, result: CandidateResult, prices: Sequence[PriceConfig]
) -> float | None:
    """Prices of tokens asked and trained on; GPU time is counted as it is held."""
    price = price_of(prices, [candidate.name, candidate.model])
    if price is None:
        return None
    money = 0.0
    for evaluation in result.evaluations:
        usage = evaluation.usage
        asked_in, asked_out = (
            usage.tokens_in - usage.reused_tokens_in,
            usage.tokens_out - usage.reused_tokens_out,
        )
        money += tokens_price(price, asked_in, asked_out) or 0.0
    if result.customization is not None and result.customization.status == "completed":
        money += price.fine_tune or 0.0
        money += result.customization.tokens / 1000 * (price.fine_tune_per_1k or 0.0)
    return money


def _sum(parts: Sequence[float | None]) -> float | None:
    return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)

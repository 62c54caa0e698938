"""How far a judge can be trusted on one evaluation, from its own verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flywheel.config import PriceConfig
from flywheel.cost.prices import tokens_price
from flywheel.errors import DataError
from flywheel.findings.analysis import JudgeHealth
from flywheel.judging.agreement import cohens_kappa, rank_correlation
from flywheel.judging.correction import corrected_mean, with_settled
from flywheel.judging.families import same_family
from flywheel.judging.metrics import JudgeMetric
from flywheel.judging.questions import JudgeVerdict
from flywheel.judging.token_use import TokenUse
from flywheel.results import JudgeRun

HEALTH = "health"
"""Where a `JudgeRun`'s details hold it."""


def health_of(
    judge: str,
    metric: JudgeMetric,
    verdicts: Sequence[JudgeVerdict],
    *,
    candidate: str,
    eval_type: str,
    candidate_model: str,
    production_model: str | None = None,
    labels: Mapping[tuple[str, str], int] | None = None,
    level: float = 0.95,
) -> JudgeHealth:
    """Health of one judge under one metric over the answers of one evaluation.

    Rates and correlations are over what the judge was asked; what was settled without it says nothing of it. A flip is
    a verdict that changes by more than one point when reference and answer change places, or at all where the scale
    has two points. Agreement with truth: where a program knows that answers are the same or different, the judge says
    so too (see `JudgeMetric.passes`).

    Args:
        verdicts: Of any metrics; those of others are passed over.
        candidate_model, production_model: Names of the models whose answers are held against each other.
        labels: Ratings by people, by content key and metric.
    """
    mine = [verdict for verdict in verdicts if verdict.metric == metric.name]
    asked = [verdict for verdict in mine if verdict.outcome != "settled"]
    rated = [verdict for verdict in asked if verdict.rating is not None]
    ratings = [verdict.rating for verdict in rated if verdict.rating is not None]
    known = [(v.truth, v.rating) for v in rated if v.truth is not None and v.rating is not None]
    probed = [
        abs(v.rating - v.swapped_rating)
        for v in rated
        if v.rating is not None and v.swapped_rating is not None
    ]
    flips = sum(change > (0 if metric.binary else 1) for change in probed)
    found = JudgeHealth(
        judge=judge,
        metric=metric.name,
        judged=len(asked),
        parse_failures=sum(verdict.outcome == "parse_failure" for verdict in asked),
        no_answer=sum(verdict.outcome == "no_verdict" for verdict in asked),
        agreement=_share(sum(metric.passes(rating) == (truth >= 0.5) for truth, rating in known), len(known)),
        agreement_n=len(known),
        flip_rate=_share(flips, len(probed)),
        flip_n=len(probed),
        length_correlation=rank_correlation(ratings, [len(verdict.answer) for verdict in rated]),
        same_family=same_family(judge, candidate_model),
        candidate=candidate,
        eval_type=eval_type,
    )
    found = _with_labels(found, metric, mine, labels or {}, level)
    return msgspec.structs.replace(found, notes=_notes(found, candidate_model, production_model))


def health_of_runs(runs: Iterable[JudgeRun]) -> list[JudgeHealth]:
    """What is kept with judge runs, in their order. Raises: DataError where it is not what this version writes."""
    found = []
    for run in runs:
        try:
            found += msgspec.convert(run.details.get(HEALTH, []), list[JudgeHealth])
        except msgspec.ValidationError as error:
            raise DataError(
                f"The judge run {run.id} was kept by another version: {error}; judge again."
            ) from error
    return found


def with_use(health: JudgeHealth, use: TokenUse, price: PriceConfig | None) -> JudgeHealth:
    """`health` with what it took to get the verdicts, beside what it names already."""
    cost = tokens_price(price, use.tokens_in, use.tokens_out)
    return msgspec.structs.replace(
        health,
        tokens_in=health.tokens_in + use.tokens_in,
        tokens_out=health.tokens_out + use.tokens_out,
        cost=None if cost is None else cost + (health.cost or 0.0),
    )


def with_earlier_use(run: JudgeRun, kept: Iterable[JudgeRun]) -> JudgeRun:
    """`run` with what a judging of the same answers had used before it was broken off. `kept`: of any evaluations."""
    earlier = {health.metric: health for health in health_of_runs(one for one in kept if one.id == run.id)}
    health = [
        msgspec.structs.replace(
            now,
            tokens_in=now.tokens_in + earlier[now.metric].tokens_in,
            tokens_out=now.tokens_out + earlier[now.metric].tokens_out,
            cost=None if now.cost is None else now.cost + (earlier[now.metric].cost or 0.0),
        )
        if now.metric in earlier
        else now
        for now in health_of_runs([run])
    ]
    return msgspec.structs.replace(run, details=run.details | {HEALTH: health_document(health)})


def health_document(health: Iterable[JudgeHealth]) -> list[dict[str, Any]]:
    """The same as plain JSON values, for a `JudgeRun`'s details."""
    return [msgspec.to_builtins(one) for one in health]


def _with_labels(
    health: JudgeHealth,
    metric: JudgeMetric,
    verdicts: Sequence[JudgeVerdict],
    labels: Mapping[tuple[str, str], int],
    level: float,
) -> JudgeHealth:
    rated = [verdict for verdict in verdicts if verdict.outcome == "rated" and verdict.rating is not None]
    settled = [verdict.score or 0.0 for verdict in verdicts if verdict.outcome == "settled"]
    people = [labels.get((verdict.key, metric.name)) for verdict in rated]
    both = [(v.rating or 0, label) for v, label in zip(rated, people, strict=True) if label is not None]
    if not both:
        return health
    found = corrected_mean(
        [metric.score(verdict.rating or 0) for verdict in rated],
        [None if label is None else metric.score(label) for label in people],
        [verdict.cluster for verdict in rated],
        level,
    )
    if found is not None and settled:
        found = with_settled(found, len(rated), settled, level)
    return msgspec.structs.replace(
        health,
        kappa=cohens_kappa([a for a, _ in both], [b for _, b in both], weighted=not metric.binary),
        kappa_n=len(both),
        corrected=found[0] if found else None,
        corrected_interval=found[1] if found else None,
    )


def _notes(health: JudgeHealth, candidate_model: str, production_model: str | None) -> list[str]:
    notes = []
    if health.same_family:
        notes.append(
            f"The judge {health.judge} and the candidate {candidate_model} are of one family; judges tend to prefer "
            "answers of their own kind."
        )
    if production_model and same_family(health.judge, production_model):
        notes.append(
            f"The judge {health.judge} and the production model {production_model} are of one family; the reference "
            "may be taken for better than it is."
        )
    return notes


def _share(count: int, of: int) -> float | None:
    return count / of if of else None

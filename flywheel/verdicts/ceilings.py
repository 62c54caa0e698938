"""How well the production model agrees with itself.

No candidate can agree with an answer that production itself would not give again. Asking it again says so best; else
the log does, where requests were asked more than once; else it is assumed to always agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flywheel.config import FlywheelConfig
from flywheel.evaluation.meaning import EMBEDDING_SIMILARITY
from flywheel.evaluation.scoring import METRICS
from flywheel.findings.analysis import Bounds, Ceiling
from flywheel.results import EvalItem
from flywheel.verdicts.contenders import Standard
from flywheel.verdicts.estimates import Mean, Scored, mean_of

LOW = 0.5
"""Agreement with itself below which production is no standard that a person would hold a candidate against."""

Answers = Sequence[Mapping[str, Any]]


def repeats_scored(
    repeated: Iterable[tuple[EvalItem, Answers]], score: Callable[[EvalItem, Mapping[str, Any]], float | None]
) -> Scored:
    """Agreement of production's other answers to a request with the first, which stands as the reference.

    Each request counts once, however often it was asked: its answers share its weight.
    """
    values: list[float | None] = []
    clusters: list[str] = []
    weights: list[float] = []
    for item, others in repeated:
        for other in others:
            values.append(score(item, other))
            clusters.append(item.cluster)
            weights.append(1 / len(others))
    return Scored(values, clusters, weights)


def standard_of(
    metric: str, replayed: Scored | None, repeats: Scored | None, min_repeats: int, level: float = 0.95
) -> Standard:
    """The best there is: replayed, from the log's repeats (of at least `min_repeats` scored requests), or assumed 1."""
    tail = (1 - level) / 2
    if replayed is not None and (mean := mean_of(replayed)) is not None:
        return Standard(_ceiling(metric, mean, "replayed", tail), replayed=replayed)
    if repeats is not None and requests_scored(repeats) >= min_repeats:
        mean = mean_of(repeats)
        if mean is not None:
            return Standard(_ceiling(metric, mean, "teacher_noise", tail), noise=mean)
    return Standard(Ceiling(metric, 1.0, 0, "assumed"))


def requests_scored(repeats: Scored) -> int:
    """Repeated requests whose answers have a score under the metric."""
    pairs = zip(repeats.values, repeats.clusters, strict=True)
    return len({cluster for value, cluster in pairs if value is not None})


def doubt_about(ceiling: Ceiling, asked: str, logged: str) -> str | None:
    """A sentence where production agrees so little with itself that a verdict beside it says little; else None.

    Args:
        asked, logged: Names of the model that was asked again, and of the one that the log's answers are of.
    """
    if ceiling.source == "assumed" or ceiling.value >= LOW:
        return None
    if ceiling.source == "replayed":
        why = (
            f"Either {asked!r} (analysis_config.production_endpoint) is not the model of the log ({logged}), or "
            f"{ceiling.metric} does not suit answers that are worded anew each time."
        )
    else:
        why = f"The log's own repeats say so: {ceiling.metric} may not suit answers that are worded anew each time."
    return (
        f"Production agrees with its logged answers on {ceiling.value:.2f} only, so whatever is as bad may pass beside "
        f"it. {why} Look before you act on a verdict; metrics_config.primary names another score."
    )


def assumption_about(metric: str, repeats: Scored | None, config: FlywheelConfig) -> str:
    """Sentences on why production is taken to agree with itself always, and what would tell how far it does."""
    known = "How far production agrees with itself is not known"
    taken = "It is taken to agree always, which asks more of candidates"
    own = {EMBEDDING_SIMILARITY, *(custom.name for custom in config.metrics_config.custom)}
    if metric in METRICS:
        why = (
            f"{requests_scored(repeats) if repeats else 0} requests were asked more than once, and "
            f"analysis_config.min_repeats is {config.analysis_config.min_repeats}"
        )
    elif metric in own:
        why = f"{metric} is not computed of the requests that the log repeats"
    else:
        return f"{known}: {metric} is not asked about production's own answers. {taken}."
    return f"{known}: {why}. {taken}; analysis_config.production_endpoint would tell."


def _ceiling(metric: str, mean: Mean, source: Any, tail: float) -> Ceiling:
    return Ceiling(metric, mean.value, mean.n, source, Bounds(*mean.bounds(tail)))

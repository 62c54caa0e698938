"""What stands for an evaluation when it is judged: its scores item by item, and what the thresholds ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from flywheel.evaluation.scoring import METRICS, metrics_for, reference_calls, uses_tools
from flywheel.findings.analysis import Ceiling
from flywheel.results import EvalItem, Prediction
from flywheel.verdicts.estimates import Mean, Scored


class Contender(msgspec.Struct, frozen=True):
    """One evaluation of one candidate. `scores` has one entry a metric, each over all items in their order.

    `wrong_actions` counts answers that call a tool where production called none, or one that production did not call.
    """

    candidate: str
    eval_type: str
    primary: str
    scores: dict[str, Scored]
    latency_ms_p95: float | None = None
    cost_per_request: float | None = None
    wrong_actions: int = 0

    @property
    def name(self) -> str:
        return f"{self.candidate} {self.eval_type}"

    @property
    def scored(self) -> Scored:
        """The scores that verdicts are about."""
        return self.scores[self.primary]


class Standard(msgspec.Struct, frozen=True):
    """What candidates are held against: production's agreement with itself.

    `replayed` are its scores when it was asked the same items again; `noise` what the log's repeats say; without
    either the ceiling's value counts as it stands.
    """

    ceiling: Ceiling
    replayed: Scored | None = None
    noise: Mean | None = None


class ItemFrame(msgspec.Struct, frozen=True):
    """What is needed of the items beside their text, in their order; texts are not held."""

    ids: list[str]
    clusters: list[str]
    weights: list[float]
    called: list[frozenset[str]]  # names of the tools that production called
    applies: list[tuple[str, ...]]  # built-in metrics that apply

    @classmethod
    def of(cls, items: Sequence[EvalItem], weighting: Literal["traffic", "items"] = "traffic") -> ItemFrame:
        """Read the items, twice."""
        tools = uses_tools(items)
        frame = cls([], [], [], [], [])
        for item in items:
            frame.ids.append(item.id)
            frame.clusters.append(item.cluster)
            frame.weights.append(float(item.weight) if weighting == "traffic" else 1.0)
            frame.called.append(frozenset(call.name for call in reference_calls(item) if call.name))
            frame.applies.append(metrics_for(item, tools))
        return frame

    def scored(self, values: Mapping[str, float | None]) -> Scored:
        """Scores by item id, None for items that are not there."""
        return Scored([values.get(name) for name in self.ids], self.clusters, self.weights)

    def kept(self, ids: set[str]) -> ItemFrame:
        """The items with these ids alone."""
        places = [place for place, name in enumerate(self.ids) if name in ids]
        return ItemFrame(
            [self.ids[p] for p in places],
            [self.clusters[p] for p in places],
            [self.weights[p] for p in places],
            [self.called[p] for p in places],
            [self.applies[p] for p in places],
        )


def scores_by_metric(frame: ItemFrame, predictions: Iterable[Prediction]) -> dict[str, Scored]:
    """Every metric that any prediction has a score of, over the items to which it applies.

    Of a metric that is not built in, such as a judge's, it is not known where it applies: it counts where it was
    given, and as unscored where there is no answer.
    """
    given: dict[str, dict[str, float | None]] = {}
    answered = set()
    for prediction in predictions:
        if prediction.response is not None:
            answered.add(prediction.id)
        for metric, value in prediction.scores.items():
            given.setdefault(metric, {})[prediction.id] = value
    return {metric: _over_items(frame, metric, values, answered) for metric, values in sorted(given.items())}


def places_of(
    frame: ItemFrame, metric: str, values: Mapping[str, float | None], answered: set[str]
) -> list[int]:
    """Places of the items that a metric applies to, as `scores_by_metric` says; `values` are what was given, by id."""
    return [
        place
        for place, name in enumerate(frame.ids)
        if (metric in frame.applies[place] if metric in METRICS else name in values or name not in answered)
    ]


def _over_items(
    frame: ItemFrame, metric: str, values: Mapping[str, float | None], answered: set[str]
) -> Scored:
    places = places_of(frame, metric, values, answered)
    return Scored(
        [values.get(frame.ids[place]) for place in places],
        [frame.clusters[place] for place in places],
        [frame.weights[place] for place in places],
    )


def wrong_actions(frame: ItemFrame, predictions: Iterable[Prediction]) -> int:
    """Answers that call a tool that production did not call for the same item."""
    called = dict(zip(frame.ids, frame.called, strict=True))
    return sum(
        any(call.get("name") not in called[prediction.id] for call in prediction.tool_calls)
        for prediction in predictions
        if prediction.id in called
    )

"""What is known of a request and its answer before the reference is: signals that a router could go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flywheel.findings.cascades import SignalName
from flywheel.records.answers import NO_TOOL
from flywheel.records.messages import message_text
from flywheel.results import EvalItem, Prediction
from flywheel.verdicts.contenders import ItemFrame, places_of
from flywheel.verdicts.estimates import Scored

LENGTH_GROUPS = 5
FEWEST_OF_A_LENGTH = 10
"""Items that a group of request lengths has at least; with fewer there are fewer groups."""


class Signal(msgspec.Struct, frozen=True):
    """One signal, a value for each item, shape (n,), None where it is not known.

    Numbers order the items by themselves: the higher, the sooner kept. Names put them into groups; how good a group is
    has to be learnt from scored items.
    """

    name: SignalName
    values: Sequence[str | float | None]

    @property
    def learnt(self) -> bool:
        """Whether its order has to be learnt."""
        return any(isinstance(value, str) for value in self.values)


class Routable(msgspec.Struct, frozen=True):
    """The items that an evaluation's main score applies to, with their signals; all of the same length and order."""

    ids: list[str]
    scored: Scored
    signals: list[Signal]


def routable(
    frame: ItemFrame, lengths: Sequence[int], predictions: Sequence[Prediction], metric: str
) -> Routable:
    """One evaluation with those signals that tell its answers apart.

    Args:
        lengths: Of the items' requests, in characters, in the order of the frame.
    """
    found = {prediction.id: prediction for prediction in predictions}
    given = {p.id: p.scores[metric] for p in predictions if metric in p.scores}
    answered = {p.id for p in predictions if p.response is not None}
    places = places_of(frame, metric, given, answered)
    ids = [frame.ids[place] for place in places]
    scored = Scored(
        [given.get(name) for name in ids],
        [frame.clusters[place] for place in places],
        [frame.weights[place] for place in places],
    )
    signals = [
        Signal("answer class", [_answer_class(found.get(name)) for name in ids]),
        Signal("request length", _length_groups([lengths[place] for place in places])),
        Signal("confidence", [p.mean_logprob if (p := found.get(name)) else None for name in ids]),
    ]
    return Routable(ids, scored, [signal for signal in signals if _tells_apart(signal)])


def request_lengths(items: Iterable[EvalItem]) -> list[int]:
    """Characters of each item's messages, system prompt included; examples that are put before them are not."""
    return [
        sum(
            len(message_text(message))
            for message in item.request.get("messages") or ()
            if isinstance(message, Mapping)
        )
        for item in items
    ]


def _answer_class(prediction: Prediction | None) -> str | None:
    if prediction is None or prediction.response is None:
        return None
    return "+".join(sorted({str(call.get("name") or "") for call in prediction.tool_calls})) or NO_TOOL


def _length_groups(lengths: Sequence[int]) -> list[str | float | None]:
    """The name of each item's group: groups hold about as many items each, equal lengths are together."""
    groups = min(LENGTH_GROUPS, len(lengths) // FEWEST_OF_A_LENGTH)
    if groups < 2:
        return [None] * len(lengths)
    ascending = sorted(lengths)
    edges = sorted({ascending[len(lengths) * k // groups] for k in range(1, groups)} - {ascending[0]})
    bounds = [ascending[0], *edges]
    names = [
        f"{low} to {high - 1} characters"
        for low, high in zip(bounds, [*edges, ascending[-1] + 1], strict=True)
    ]
    return [names[sum(length >= edge for edge in edges)] for length in lengths]


def _tells_apart(signal: Signal) -> bool:
    return len(Counter(value for value in signal.values if value is not None)) > 1

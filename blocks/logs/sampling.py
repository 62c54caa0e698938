"""Choosing `limit` of more records: the newest, any, or some of every tool. The same for every log store.

Choices depend on the records alone, not on the order in which they are seen. What is held is at most twice `limit`
for each class of answers, whatever the log's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from blocks.ports import Sampling

Key = TypeVar("Key")
_SLACK = 4_096  # kept beyond what is needed before it is sorted out
NO_TOOL = "no_tool"


class Sample(Generic[Key]):
    """Sees every record once and keeps the chosen ones' keys.

    Args:
        limit: How many to choose.
        sampling: 'newest' keeps the latest times, records without one being older than any; equal times are ordered
            by the draw. 'uniform' goes by the draw alone. 'stratified' gives every class of answers the places that
            `places` says, and goes by the draw within a class.
    """

    def __init__(self, limit: int, sampling: Sampling) -> None:
        self._limit = limit
        self._sampling = sampling
        self._classes: dict[str, _Best[Key]] = {}

    @property
    def stratified(self) -> bool:
        """Whether `add` needs the class of answers."""
        return self._sampling == "stratified"

    @property
    def seen(self) -> int:
        """Records that were added."""
        return sum(best.seen for best in self._classes.values())

    def add(self, key: Key, time: float | None, draw: int, stratum: str = "") -> None:
        """Consider one record; `draw` is that of `Scope.draw`."""
        best = self._classes.get(stratum)
        if best is None:
            best = self._classes[stratum] = _Best(self._limit)
        first = 0.0 if self._sampling != "newest" else -math.inf if time is None else time
        best.add(key, first, draw)

    def chosen(self) -> list[Key]:
        """Keys of the chosen records, in no order that means anything."""
        counts = {stratum: best.seen for stratum, best in self._classes.items()}
        return [
            key
            for stratum, number in places(counts, self._limit).items()
            for key in self._classes[stratum].top(number)
        ]


def places(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many of `limit` places each class gets.

    Half of the places are shared equally among the classes, so that rare ones stay; a class that has fewer records
    leaves the rest of its share to the others. The other half goes by the share of the traffic.
    Never more than a class has; all places are taken if there are records enough.
    """
    order = sorted(counts, key=lambda name: (-counts[name], name))
    if sum(counts.values()) <= limit:
        return {name: counts[name] for name in order}
    if len(order) >= limit:
        return {name: int(position < limit) for position, name in enumerate(order)}
    sure = max(1, limit // (2 * len(order)))
    taken = {name: min(sure, counts[name]) for name in order}
    rest = {name: counts[name] - taken[name] for name in order}
    left, of = limit - sum(taken.values()), sum(rest.values())
    for name in order:
        taken[name] += left * rest[name] // of
    by_remainder = sorted(order, key=lambda name: (-(left * rest[name] % of), name))
    for name in by_remainder[: limit - sum(taken.values())]:
        taken[name] += 1
    return taken


class _Function(msgspec.Struct):
    name: str


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Message(msgspec.Struct):
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None


class _Response(msgspec.Struct):
    choices: list[_Choice] | None = None


_decoder = msgspec.json.Decoder(_Response)


def stratum_of(response: bytes | None) -> str:
    """The distinct tools that an answer calls, sorted and joined by "+"; "no_tool" for none, also where it is odd."""
    try:
        decoded: Any = _decoder.decode(response or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return NO_TOOL
    names = set()
    for choice in decoded.choices or ():
        if choice.message is not None:
            names |= {call.function.name for call in choice.message.tool_calls or () if call.function}
            if choice.message.function_call:
                names.add(choice.message.function_call.name)
    return "+".join(sorted(names)) or NO_TOOL


class _Best(Generic[Key]):
    """The keys of the largest (first, draw) pairs so far."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: list[Key] = []
        self._firsts: list[float] = []
        self._draws: list[int] = []
        self.seen = 0

    def add(self, key: Key, first: float, draw: int) -> None:
        self.seen += 1
        self._keys.append(key)
        self._firsts.append(first)
        self._draws.append(draw)
        if len(self._keys) >= 2 * self._most + _SLACK:
            self._keep(self._most)

    def top(self, number: int) -> list[Key]:
        self._keep(number)
        return self._keys

    def _keep(self, number: int) -> None:
        if len(self._keys) <= number:
            return
        ranks = np.lexsort((np.array(self._draws, dtype=np.uint64), np.array(self._firsts)))
        kept = ranks[len(ranks) - number :].tolist()
        self._keys = [self._keys[i] for i in kept]
        self._firsts = [self._firsts[i] for i in kept]
        self._draws = [self._draws[i] for i in kept]

"""Which evaluation items are steps of one conversation, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flywheel.records.answers import answer_message
from flywheel.records.canonical import fingerprint
from flywheel.results import EvalItem


class _Step(NamedTuple):
    """What is needed of an item: its place, its conversation where the log names it, and what it continues."""

    place: int
    id: str
    conversation: str | None
    timestamp: float | None
    messages: int
    thread: bytes
    earlier: tuple[bytes, ...]


def conversations_of(items: Iterable[EvalItem]) -> list[list[int]]:
    """Places of the items of each conversation with at least two of them, in the order in which they were asked.

    Steps belong together by the log's conversation id. Where one begins with the messages and the answer of another it
    continues it, whatever their ids: of requests that were asked word by word in several conversations one item
    stands for all, and is a step of each. Without an id, what parts after a common beginning are two conversations.
    Steps that are no evaluation items are missing here.
    """
    steps = [_step(place, item) for place, item in enumerate(items)]
    by_thread: dict[bytes, list[_Step]] = {}
    for step in steps:
        by_thread.setdefault(step.thread, []).append(step)
    continued = {thread for step in steps for thread in step.earlier}
    named: dict[str, list[_Step]] = {}
    alone: list[list[_Step]] = []
    for step in steps:
        if step.conversation is not None:
            named.setdefault(step.conversation, []).append(step)
        elif step.thread not in continued:
            alone.append([step])
    found = [_in_order(_with_earlier(members, by_thread)) for members in (*named.values(), *alone)]
    return [places for places in found if len(places) > 1]


def _step(place: int, item: EvalItem) -> _Step:
    request = item.request
    messages = request.get("messages")
    asked = [m for m in messages if isinstance(m, Mapping)] if isinstance(messages, list) else []
    hashes = fingerprint({**request, "messages": asked}, answer_message(item.response) or {})
    return _Step(
        place, item.id, item.conversation, item.timestamp, len(asked), hashes.thread, tuple(hashes.prefixes)
    )


def _with_earlier(members: Sequence[_Step], by_thread: Mapping[bytes, Sequence[_Step]]) -> list[_Step]:
    """The members and the steps that they continue; of several that are the same step, one."""
    steps = {step.place: step for step in members}
    threads = {step.thread for step in members}
    for member in members:
        for thread in member.earlier:
            if thread not in threads and thread in by_thread:
                threads.add(thread)
                step = by_thread[thread][0]
                steps[step.place] = step
    return list(steps.values())


def _in_order(steps: Sequence[_Step]) -> list[int]:
    """By time where the log names one conversation and its times for all of them, else by the length of the history."""
    times = [step.timestamp for step in steps if step.timestamp is not None]
    if len(times) == len(steps) and len({step.conversation for step in steps}) == 1:
        return [step.place for step in sorted(steps, key=lambda s: (s.timestamp or 0.0, s.messages, s.id))]
    return [step.place for step in sorted(steps, key=lambda s: (s.messages, s.timestamp or 0.0, s.id))]

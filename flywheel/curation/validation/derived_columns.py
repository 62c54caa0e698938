"""From a usable call to its row of the validated table: what the later steps need, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.curation.validation.verdicts import Keep
from flywheel.records.answers import class_of
from flywheel.records.canonical import Fingerprint, Fingerprinter, content_id
from flywheel.records.frames import VOLATILE
from flywheel.records.messages import SYSTEM_ROLES, message_text

_LETTERS = {"user": "u", "assistant": "a", "tool": "t", "function": "t"}


class Conversation(NamedTuple):
    """A request's own text: all of it but system messages, unless there is nothing else."""

    roles: str
    text: str
    last_message_start: int


class Derived(NamedTuple):
    """What a call gets beside its logged fields."""

    answer_class: str
    fingerprint: Fingerprint
    conversation: Conversation


class Deriver:
    """Computes the derived columns of many calls."""

    def __init__(self) -> None:
        self._fingerprinter = Fingerprinter()

    def derive(self, call: Keep) -> Derived:
        """Class, hashes and text of a call."""
        opening = call.opening
        hashes = self._fingerprinter.fingerprint(
            call.messages,
            call.frame,
            call.answer,
            call.calls,
            None if opening is None else opening.beginning,
        )
        said = conversation(call.messages, () if opening is None else opening.messages)
        return Derived(class_of(call.calls), hashes, said)


def conversation(
    messages: Sequence[Mapping[str, Any]], opening: Sequence[Mapping[str, Any]] = ()
) -> Conversation:
    """The text of a conversation, a message after the other, each from a line of its own; `s` for system
    ones. `opening` are the system messages before `messages`.
    """
    own = [message for message in messages if message["role"] not in SYSTEM_ROLES]
    own = own or [*opening, *messages]
    roles = "".join([_LETTERS.get(message["role"], "s") for message in own])
    texts = [message_text(message) for message in own]
    text = "\n".join(texts)
    return Conversation(roles, text, len(text) - len(texts[-1]))


def record_id(call: Keep, fingerprint: Fingerprint, logged: Sequence[Any]) -> str:
    """The id of a call that the log gave none, from everything that was logged of it.

    Args:
        logged: The record's other fields: workload, client, conversation, time.
    """
    rest = call.frame.rest
    volatile = {key: msgspec.json.decode(rest[key]) for key in sorted(rest.keys() & VOLATILE)}
    return content_id([list(logged), fingerprint.request.hex(), volatile, call.response])

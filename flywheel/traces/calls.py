"""What a recorded call becomes, and how it is told whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from flywheel.records.log_line import Unknown, Unreadable

NO_MODEL_CALL = "no_model_call"
"""Reason of what a trace holds beside model calls: it is nobody's record, and counted as out of scope."""
UNMAPPABLE = "unmappable_call"


class Labels(msgspec.Struct, frozen=True):
    """Names of the attributes that tell workload and client; the first one that a call has counts.

    Without names, the source's own are taken.
    """

    workload: tuple[str, ...] = ()
    client: tuple[str, ...] = ()


NO_LABELS = Labels()


class Recorded(NamedTuple):
    """A call as the fields of a log record, in raw JSON.

    `problem` says why it is no record; then `fields` has at least the ids, as far as they are known.
    """

    fields: Unknown
    problem: Unreadable | None = None


class Unmappable(Exception):
    """Caught where a call is translated, where it becomes a `problem`; the message is a sentence."""


def first_named(names: Iterable[str], *places: Mapping[str, Any]) -> str | None:
    """The first of these attributes that says something, as text; None where none does."""
    for name in names:
        for place in places:
            value = place.get(name)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                return str(value)
    return None


def as_fields(values: Mapping[str, Any]) -> Unknown:
    """The values that are there, in raw JSON."""
    return {
        name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items() if value is not None
    }

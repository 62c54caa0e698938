"""Who a call is made for: labels that hold for a block of code, in this task or thread and what it awaits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

LABELS = ("workload_id", "client_id", "conversation_id", "description")

_NONE: Mapping[str, str] = {}
_current: ContextVar[Mapping[str, str]] = ContextVar("flywheel_exporter_labels", default=_NONE)


@contextmanager
def labels(
    *,
    workload_id: str | None = None,
    client_id: str | None = None,
    conversation_id: str | None = None,
    description: str | None = None,
) -> Iterator[None]:
    """Label every call made inside the block; an inner block adds to an outer one and wins where both name a label.

    They win over those of the client. A new thread starts without them: enter the block inside it. Works as a
    decorator of plain functions too.
    """
    token = _current.set({**_current.get(), **given(workload_id, client_id, conversation_id, description)})
    try:
        yield
    finally:
        _current.reset(token)


def given(
    workload_id: str | None, client_id: str | None, conversation_id: str | None, description: str | None
) -> dict[str, str]:
    """Those of the labels that have a value, as text."""
    values = zip(LABELS, (workload_id, client_id, conversation_id, description), strict=True)
    return {name: str(value) for name, value in values if value is not None and value != ""}


def current_labels() -> Mapping[str, str]:
    """The labels that hold here; never changed in place."""
    return _current.get()

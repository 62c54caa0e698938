"""How long work tells how far it is, without knowing who listens.

A function that takes a while gets a `Progress` and calls it; the command line draws a bar, a Prefect task updates a
progress artifact, a test records what came.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Called with the state of one piece of work, as often as there is something new."""

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """Report progress.

        Args:
            stage: What is being done, e.g. "fine-tune smollm2"; one stage is one bar.
            done: Units finished.
            total: Units in all; None where that is unknown.
            detail: A few words, e.g. "epoch 1/2, loss 0.31".
        """


def silent(stage: str, done: int, total: int | None, detail: str = "") -> None:
    """A `Progress` that tells nobody."""


_listener: ContextVar[Progress] = ContextVar("progress_listener", default=silent)


@contextmanager
def listening(listener: Progress) -> Iterator[None]:
    """Everything that this context starts, tasks and threads included, reports to `listener` as well."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def listener() -> Progress:
    """Who listens in this context; `silent` where nobody does."""
    return _listener.get()

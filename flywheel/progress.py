"""How long work tells how far it is, without knowing who listens.

A function that takes a while gets a `Progress` and calls it; the command line draws a bar, a Prefect task updates a
progress artifact, a test records what came.
"""

from __future__ import annotations

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

"""Settings of the step that takes personal data out of records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flywheel.config.base import Settings

RedactedKind = Literal["email", "phone", "card", "ip", "key"]
ALL_KINDS: tuple[RedactedKind, ...] = ("email", "phone", "card", "ip", "key")


class RedactionConfig(Settings):
    """Which personal data is replaced by placeholders while the log is read."""

    enabled: bool = Field(
        default=False,
        description="Replace personal data and secrets in requests and responses by placeholders such as [EMAIL_1], "
        "before anything is written. Off: every byte stays as logged.",
    )
    kinds: list[RedactedKind] = Field(
        default=list(ALL_KINDS),
        description="What is looked for: e-mail addresses, telephone numbers, payment cards (by their check digit), "
        "IP addresses, keys and tokens.",
    )
    names: str = Field(
        default="",
        description="'module:function' or 'file.py:function' that finds names of people: it takes a text and returns "
        "(start, end) pairs of characters. Importing it runs its code.",
    )

"""What a cleanup found, and what became of it."""

from __future__ import annotations

import msgspec


class Freed(msgspec.Struct, frozen=True):
    """One thing that was found, and what became of it."""

    kind: str
    name: str
    run_id: str
    done: str
    why: str = ""

    @property
    def is_left(self) -> bool:
        """Whether it is still there although it should not be."""
        return self.done == "not freed"

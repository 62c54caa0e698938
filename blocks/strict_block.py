"""The base of the project's Prefect blocks."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import ConfigDict


class StrictBlock(Block):
    """A block that refuses a misspelt field, which Prefect's own base keeps in silence."""

    model_config = ConfigDict(extra="forbid")

"""What every part of the settings is: immutable, and strict about names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share between 0 and 1, both included."""


class Settings(BaseModel):
    """Base of every part of the tree: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

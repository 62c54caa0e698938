"""What every part of the settings is: immutable, and strict about names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

SECRET = "secret_among_settings"
"""Type of the errors whose input must not be repeated to anybody."""


def _without_credentials(address: str) -> str:
    host = address.partition("://")[2].partition("/")[0]
    if "@" in host:
        raise PydanticCustomError(
            SECRET,
            "Settings are stored with the run, so an address holds no user and no password; name the environment "
            "variable of the key, or a saved block",
        )
    return address


def _name_of_variable(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise PydanticCustomError(
            SECRET,
            "This names the environment variable that holds the key; the key itself is never among the settings, "
            "which are stored with the run",
        )
    return name


Address = Annotated[str, AfterValidator(_without_credentials)]
"""Of an endpoint, without the credentials that a URL may carry."""

KeyVariable = Annotated[str, AfterValidator(_name_of_variable)]
"""Name of an environment variable."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share between 0 and 1, both included."""


class Settings(BaseModel):
    """Base of every part of the tree: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def displaced(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What an override of `given` puts back to nothing, because the two exclude each other."""
        return {}

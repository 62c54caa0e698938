"""What the run stores have in common: documents as JSON text, text that a database can search, lookups that fail."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from flywheel.errors import DataError

T = TypeVar("T")

_NEAREST = 3
_LISTED = 5


def to_json(value: Any) -> str:
    """JSON in ASCII that keeps infinities (an unbounded interval), which msgspec's own encoder writes as null."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True)


def from_json(text: str | bytes, kind: type[T], where: str) -> T:
    """The reverse of `to_json`. Raises DataError that names `where` the text stands."""
    try:
        return msgspec.convert(json.loads(text), kind)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise DataError(
            f"{where} holds a {kind.__name__} that cannot be read ({error}). "
            "Use the flywheel that wrote it, or take it out of the store."
        ) from error


def searchable(text: str) -> str:
    """The text as every database takes it: half a surrogate pair, which UTF-8 cannot hold, is written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def several_runs(prefix: str, ids: Sequence[str]) -> DataError:
    """The error for a beginning of more than one id."""
    listed = ", ".join(ids[:_LISTED]) + (", ..." if len(ids) > _LISTED else "")
    return DataError(f"Several runs begin with {prefix!r}: {listed}. Give more of the id.")


def no_such_run(run_id: str, known: Sequence[str]) -> DataError:
    """The error for an id that no run has; `known` are the ids there are, newest first."""
    if not known:
        return DataError(f"There is no run {run_id!r}: the run store is empty. `flywheel run` makes one.")
    nearest = difflib.get_close_matches(run_id, known, n=_NEAREST, cutoff=0.3) or known[:_NEAREST]
    return DataError(
        f"There is no run {run_id!r}. The nearest are {', '.join(nearest)}; `flywheel runs` lists all."
    )

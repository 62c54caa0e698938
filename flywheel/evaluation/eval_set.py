"""Which evaluation items a score is about: two runs can be compared where they asked the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from flywheel.results import EvalItem

_HEX_DIGITS = 16


def eval_set_of(items: Iterable[EvalItem]) -> str:
    """16 hex digits over id, request and response of every item, whatever the order of items and of fields.

    Clusters and weights are left out: they change with the records around an item, and what is asked does not.
    """
    digests = sorted(
        hashlib.sha256(
            msgspec.json.encode([item.id, item.request, item.response], order="deterministic")
        ).digest()
        for item in items
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()[:_HEX_DIGITS]

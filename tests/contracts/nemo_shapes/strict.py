"""What all services of the platform have in common: how names and times are written, pages, errors, routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A shape with exactly these fields; one with UNSET may be missing, one with None may be null."""


Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=255)]
DnsName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Reference = Annotated[str, Meta(pattern=r"^[^/@ ]+/[^/@ ]+(@[^/ ]+)?$")]
NaiveTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$")]
ZuluTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
DatasetUrl = Annotated[str, Meta(pattern=r"^hf://datasets/[^/]+/[^/]+(/.+)?$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
JobState = Literal[
    "created", "pending", "running", "cancelling", "cancelled", "failed", "completed", "ready", "unknown"
]


class Detail(Strict):
    detail: str


class Problem(Strict):
    loc: list[str | int]
    msg: str
    type: str


class Problems(Strict):
    detail: list[Problem]


class Deleted(Strict):
    id: str | None
    deleted_at: str | None
    message: str | None


class Pagination(Strict):
    page: int
    page_size: int
    current_page_size: int
    total_pages: int
    total_results: int


class Page(Strict):
    object: Literal["list"]
    data: list[dict[str, Any]]
    sort: str | None
    filter: dict[str, Any] | None
    search: dict[str, Any] | None
    pagination: Pagination


class Route(NamedTuple):
    """One call: the shape of its request's JSON, and of its answers by status. None is no body."""

    service: str
    method: str
    path: str
    request: Any
    replies: dict[int, Any]


ONE = r"[^/]+"
"""One part of a path."""

"""The platform's clock, its wishes for trouble, and the answers that all services give alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

START = datetime(2025, 6, 20, 4, 20, 0)


class Clock:
    """Platform time in seconds. Each request makes it go on by one, so what takes long takes a few looks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.numbers = 0

    def naive(self, seconds: float | None = None) -> str:
        """A time as Entity Store, Customizer and Evaluator write it."""
        when = START + timedelta(seconds=self.seconds if seconds is None else seconds)
        return when.isoformat(timespec="microseconds")

    def zulu(self) -> str:
        """A time as the Data Store writes it."""
        return (START + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}-{self.numbers:08d}"


@dataclass
class Misbehaviour:
    """What goes wrong, by a part of a name; numbers are platform seconds."""

    failing_deployments: dict[str, str] = field(default_factory=dict)
    starved_deployments: set[str] = field(default_factory=set)
    stuck_deployments: set[str] = field(default_factory=set)
    start_seconds: float = 3.0
    delete_seconds: float = 2.0
    failing_jobs: dict[str, str] = field(default_factory=dict)
    failing_without_words: set[str] = field(default_factory=set)
    entity_races: int = 0
    stalled_jobs: set[str] = field(default_factory=set)
    starved_jobs: set[str] = field(default_factory=set)
    queued_jobs: set[str] = field(default_factory=set)
    stubborn_jobs: set[str] = field(default_factory=set)
    failing_uploads: set[str] = field(default_factory=set)
    never_synced: set[str] = field(default_factory=set)
    broken_when_used: set[str] = field(default_factory=set)
    sync_seconds: float = 3.0
    downloading_seconds: float = 0.0
    failing_evaluations: set[str] = field(default_factory=set)
    stalled_evaluations: set[str] = field(default_factory=set)
    evaluation_cancel: bool = True
    results_without_rows: int = 0


def named(parts: Any, name: str) -> str | None:
    """The first of the parts that stands in the name."""
    return next((part for part in parts if part in name), None)


def ok(document: Any, status: int = 200) -> web.Response:
    return web.json_response(document, status=status)


def detail(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text}, status=status)


def deleted(name: str, clock: Clock) -> web.Response:
    return ok({"id": name, "deleted_at": clock.naive(), "message": "Resource deleted successfully."})


def page(entries: list[dict[str, Any]], query: Mapping[str, str]) -> web.Response:
    """One page of what the filters leave, newest first where that is asked for. Pages are small here."""
    wanted = {key[7:-1]: value for key, value in query.items() if key.startswith("filter[")}
    found = [entry for entry in entries if all(str(entry.get(k)) == v for k, v in wanted.items())]
    if query.get("sort") == "-created_at":
        found = sorted(found, key=lambda entry: str(entry["created_at"]), reverse=True)
    number, size = int(query.get("page", 1)), min(3, int(query.get("page_size", 10)))
    part = found[(number - 1) * size : number * size]
    pagination = {
        "page": number,
        "page_size": size,
        "current_page_size": len(part),
        "total_pages": max(1, -(-len(found) // size)),
        "total_results": len(found),
    }
    return ok(
        {
            "object": "list",
            "data": part,
            "sort": query.get("sort"),
            "filter": wanted or None,
            "search": None,
            "pagination": pagination,
        }
    )


async def body_of(request: web.Request) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(await request.read())
    return document

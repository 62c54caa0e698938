"""Jobs of the platform that are ours, found by the tag that they were created with."""

from __future__ import annotations

from typing import Any

from blocks.nemo.customization_jobs import FINISHED
from blocks.nemo.entity_store import TAG
from blocks.nemo.http import Service

NEWEST_FIRST = "-created_at"


async def attempts_at(service: Service, path: str, namespace: str, name: str) -> list[dict[str, Any]]:
    """Every job below `path` for the work `name`, newest first."""
    params = {"filter[namespace]": namespace, "filter[project]": name, "sort": NEWEST_FIRST}
    return [
        entry
        async for entry in service.pages(path, params)
        # Matched here too: a filter that a server passes over must not hand us somebody else's job.
        if entry.get("project") == name and _tag(entry) == name
    ]


async def running_work(service: Service, path: str, namespace: str) -> list[str]:
    """Names of the work of the namespace below `path` that has not ended, whoever asked for it in this way."""
    params = {"filter[namespace]": namespace, "sort": NEWEST_FIRST}
    entries = [entry async for entry in service.pages(path, params)]
    tags = [_tag(entry) for entry in entries if entry.get("status") not in FINISHED]
    return sorted({str(tag) for tag in tags if tag})


def _tag(entry: dict[str, Any]) -> Any:
    return (entry.get("custom_fields") or {}).get(TAG)

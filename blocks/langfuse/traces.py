"""The traces that observations belong to: their names, tags and sessions, which observations do not carry."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from blocks.langfuse.api import LangfuseApi
from blocks.langfuse.windows import Window

_KEPT = ("name", "tags", "sessionId", "userId", "release", "version", "environment")
_REMEMBERED = 50_000  # traces; most are not met again after their window
_FEW = 3  # traces that are asked for by themselves, where a list would bring others as well
_EARLIER = timedelta(minutes=5)  # that a trace usually begins before its observations, at most
_MOST_PAGES = 30


class Traces:
    """Looks up traces, a window's at once: a list brings a hundred; only what it does not bring is asked for singly."""

    def __init__(self, api: LangfuseApi) -> None:
        self._api = api
        self._known: dict[str, dict[str, Any] | None] = {}

    def of(self, window: Window, trace_ids: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        """These traces; None for one that is not there any more."""
        wanted = list(dict.fromkeys(trace_ids))
        missing = {trace_id for trace_id in wanted if trace_id not in self._known}
        if len(missing) > _FEW:
            missing -= self._listed(window, missing)
        for trace_id in sorted(missing):
            found = self._api.get(f"/traces/{quote(trace_id, safe='')}", fields="core")
            self._known[trace_id] = None if found is None else _core(found)
        answer = {trace_id: self._known[trace_id] for trace_id in wanted}
        if len(self._known) > _REMEMBERED:
            self._known = dict(answer)
        return answer

    def _listed(self, window: Window, wanted: set[str]) -> set[str]:
        """Which of them a list of the window's traces held."""
        size = self._api.settings.page_size
        since = None if window.since is None else (window.since - _EARLIER).isoformat()
        found: set[str] = set()
        for number in range(1, _MOST_PAGES + 1):
            page = self._api.get(
                "/traces",
                page=number,
                limit=size,
                fields="core",
                fromTimestamp=since,
                toTimestamp=window.until.isoformat(),
            )
            rows = (page or {}).get("data") or []
            for row in rows:
                if row.get("id") in wanted:
                    found.add(row["id"])
                    self._known[row["id"]] = _core(row)
            if len(rows) < size or found >= wanted:
                break
        return found


def _core(trace: dict[str, Any]) -> dict[str, Any]:
    return {key: trace[key] for key in _KEPT if trace.get(key) is not None}

"""Which workloads of which clients there are: one aggregation, in pages, so that ten thousand are no problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blocks.elasticsearch.mapping import LogMapping
from blocks.elasticsearch.queries import TIME
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.ports import WorkloadSummary
from flywheel.errors import DataError, TransientRemoteError
from flywheel.progress import Progress
from flywheel.records.timestamps import to_iso, to_seconds

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

PAGE = 500  # workloads in one answer
LOOKED_AT = 3  # newest records of each workload whose tools are read
_AVERAGED = ("latency_ms", "tokens_in", "tokens_out")


def discover(
    client: Elasticsearch,
    settings: ElasticsearchSettings,
    mapping: LogMapping,
    progress: Progress,
    page: int = PAGE,
) -> list[WorkloadSummary]:
    """All workloads, largest first, then by name."""
    buckets: list[dict[str, Any]] = []
    after: dict[str, Any] | None = None
    while True:
        answer = client.search(
            index=settings.index,
            size=0,
            track_total_hits=False,
            allow_partial_search_results=False,
            aggs={"workloads": _aggregation(mapping, after, page)},
        ).body
        if answer["_shards"]["failed"] or answer["timed_out"]:
            raise TransientRemoteError("Elasticsearch could not look at the whole log; see to its shards.")
        found = answer["aggregations"]["workloads"]
        buckets += found["buckets"]
        progress("list workloads", len(buckets), None, "workloads")
        after = found.get("after_key")
        if not found["buckets"] or after is None:
            break
    merged: dict[tuple[str | None, str | None], _Found] = {}
    for bucket in buckets:
        # an empty identifier is none at all
        key = bucket["key"]["workload"] or None, bucket["key"]["client"] or None
        merged.setdefault(key, _Found()).add(bucket)
    return _summaries(merged)


def _aggregation(mapping: LogMapping, after: dict[str, Any] | None, page: int) -> dict[str, Any]:
    composite: dict[str, Any] = {
        "size": page,
        "sources": [
            {"workload": {"terms": {"field": "workload_id", "missing_bucket": True}}},
            {"client": {"terms": {"field": "client_id", "missing_bucket": True}}},
        ],
    }
    if after is not None:
        composite["after"] = after
    figures: dict[str, Any] = {
        "first": {"min": {"field": TIME}},
        "last": {"max": {"field": TIME}},
        "newest": {
            "top_hits": {
                "size": LOOKED_AT,
                "sort": [{TIME: {"order": "desc"}}],
                "_source": ["request.tools.function.name", "request.tools.name", "request.functions.name"],
            }
        },
        **{name: {"avg": {"field": name}} for name in mapping.numbers},
    }
    return {"composite": composite, "aggs": figures}


class _Found:
    """What one workload of one client holds, from one bucket or, where identifiers are empty, several."""

    def __init__(self) -> None:
        self.records = 0
        self.tools: set[str] = set()
        self.times: list[str] = []
        self._sums: dict[str, list[tuple[int, float]]] = {name: [] for name in _AVERAGED}

    def add(self, bucket: dict[str, Any]) -> None:
        self.records += bucket["doc_count"]
        for hit in bucket["newest"]["hits"]["hits"]:
            self.tools |= tools_of(hit.get("_source") or {})
        moments = (_moment(bucket["first"]["value"]), _moment(bucket["last"]["value"]))
        self.times += [moment for moment in moments if moment is not None]
        for name, values in self._sums.items():
            value = bucket.get(name, {}).get("value")
            if value is not None:
                values.append((bucket["doc_count"], value))

    def average(self, name: str) -> float | None:
        values = self._sums[name]
        if not values:
            return None
        return sum(records * value for records, value in values) / sum(records for records, _ in values)


def _summaries(found: dict[tuple[str | None, str | None], _Found]) -> list[WorkloadSummary]:
    records: dict[str | None, int] = {}
    nameless: dict[str | None, int] = {}
    for (workload, client), of in found.items():
        records[client] = records.get(client, 0) + of.records
        if workload is None:
            nameless[client] = of.records
    summaries = [
        WorkloadSummary(
            workload,
            client,
            of.records,
            sorted(of.tools),
            min(of.times, default=None),
            max(of.times, default=None),
            nameless.get(client, 0) / records[client],
            average_latency_ms=of.average("latency_ms"),
            average_tokens_in=of.average("tokens_in"),
            average_tokens_out=of.average("tokens_out"),
        )
        for (workload, client), of in found.items()
    ]
    return sorted(summaries, key=lambda s: (-s.records, s.workload_id or "", s.client_id or ""))


def _moment(value: float | None) -> str | None:
    """A time as the index reads it, in milliseconds; one that it misreads is told by its size."""
    try:
        return None if value is None else to_iso(to_seconds(float(value)))
    except DataError:
        return None


def tools_of(source: dict[str, Any]) -> set[str]:
    """Names of the tools that a document's request offers."""
    request = source.get("request")
    offered = [*_listed(request, "tools"), *_listed(request, "functions")]
    functions = [entry.get("function", entry) for entry in offered if isinstance(entry, dict)]
    return {f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)}


def _listed(request: Any, name: str) -> list[Any]:
    found = request.get(name) if isinstance(request, dict) else None
    return found if isinstance(found, list) else []

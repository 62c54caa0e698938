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
    records: dict[str | None, int] = {}
    nameless: dict[str | None, int] = {}
    for bucket in buckets:
        workload, of = bucket["key"]["workload"] or None, bucket["key"]["client"] or None
        records[of] = records.get(of, 0) + bucket["doc_count"]
        if workload is None:
            nameless[of] = nameless.get(of, 0) + bucket["doc_count"]
    summaries = [
        _summary(bucket, nameless.get(of, 0) / records[of])
        for bucket in buckets
        for of in [bucket["key"]["client"] or None]
    ]
    return sorted(summaries, key=lambda s: (-s.records, s.workload_id or "", s.client_id or ""))


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


def _summary(bucket: dict[str, Any], share: float) -> WorkloadSummary:
    averages = {name: bucket.get(name, {}).get("value") for name in _AVERAGED}
    tools: set[str] = set()
    for hit in bucket["newest"]["hits"]["hits"]:
        tools |= _tools_of(hit.get("_source") or {})
    return WorkloadSummary(
        bucket["key"]["workload"] or None,
        bucket["key"]["client"] or None,
        bucket["doc_count"],
        sorted(tools),
        _moment(bucket["first"]["value"]),
        _moment(bucket["last"]["value"]),
        share,
        average_latency_ms=averages["latency_ms"],
        average_tokens_in=averages["tokens_in"],
        average_tokens_out=averages["tokens_out"],
    )


def _moment(value: float | None) -> str | None:
    """A time as the index reads it, in milliseconds; one that it misreads is told by its size."""
    try:
        return None if value is None else to_iso(to_seconds(float(value)))
    except DataError:
        return None


def _tools_of(source: dict[str, Any]) -> set[str]:
    request = source.get("request")
    offered = [*_listed(request, "tools"), *_listed(request, "functions")]
    functions = [entry.get("function", entry) for entry in offered if isinstance(entry, dict)]
    return {f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)}


def _listed(request: Any, name: str) -> list[Any]:
    found = request.get(name) if isinstance(request, dict) else None
    return found if isinstance(found, list) else []

"""What records without a workload id look like, from a sample of them: an index is too large to be read for that.

For each client the newest of them are looked at, and a few records of its largest workloads, to know what those look
like. `flywheel.records.untagged` says what is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from blocks.elasticsearch.discovery import tools_of
from blocks.elasticsearch.queries import TIME, Clause, every, is_exactly, nameless
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.ports import WorkloadSummary
from flywheel.errors import TransientRemoteError
from flywheel.progress import Progress
from flywheel.records.untagged import Untagged

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

SAMPLED = 300  # newest records without a workload id, of one client
LEARNED = 20  # newest records of each workload that tell what it looks like
MOST_CLIENTS = 10  # those with the most records without a workload id
MOST_WORKLOADS = 30  # of one client, the largest
PAGE = 100  # records in one answer; messages may be long
_LOOKS = [
    "request.messages.role",
    "request.messages.content",
    "request.tools.function.name",
    "request.tools.name",
    "request.functions.name",
]


def with_groups(
    client: Elasticsearch,
    settings: ElasticsearchSettings,
    found: Sequence[WorkloadSummary],
    progress: Progress,
) -> list[WorkloadSummary]:
    """The summaries, those of records without a workload id with `groups` of a sample; `looked_at` is its size."""
    without_id = [summary for summary in found if summary.workload_id is None][:MOST_CLIENTS]
    looked_at: dict[str | None, int] = {}
    untagged = Untagged()
    for done, summary in enumerate(without_id):
        progress("look at records without a workload id", done, len(without_id), "clients")
        of_client = _of("client_id", summary.client_id)
        named = [s.workload_id for s in found if s.workload_id and s.client_id == summary.client_id]
        for workload in named[:MOST_WORKLOADS]:
            for request, tools in _requests(
                client, settings, every(of_client, _of("workload_id", workload)), LEARNED
            ):
                untagged.learn(workload, summary.client_id, request, tools)
        looked_at[summary.client_id] = 0
        for request, tools in _requests(
            client, settings, every(of_client, _of("workload_id", None)), SAMPLED
        ):
            untagged.add(summary.client_id, request, tools)
            looked_at[summary.client_id] += 1
    return [
        msgspec.structs.replace(
            summary,
            groups=untagged.groups(summary.client_id),
            looked_at=looked_at[summary.client_id],
        )
        if summary.workload_id is None and summary.client_id in looked_at
        else summary
        for summary in found
    ]


def _of(field: str, value: str | None) -> Clause:
    return nameless(field) if value is None else is_exactly(field, value)


def _requests(
    client: Elasticsearch, settings: ElasticsearchSettings, query: Clause, most: int
) -> Iterator[tuple[msgspec.Raw, frozenset[str]]]:
    """What the newest records ask for, and the names of the tools that they offer."""
    for begin in range(0, most, PAGE):
        size = min(PAGE, most - begin)
        answer = client.search(
            index=settings.index,
            query=query,
            sort=[{TIME: {"order": "desc"}}],
            from_=begin,
            size=size,
            source={"includes": _LOOKS},
            track_total_hits=False,
            allow_partial_search_results=False,
        ).body
        if answer["_shards"]["failed"] or answer["timed_out"]:
            raise TransientRemoteError("Elasticsearch could not look at the whole log; see to its shards.")
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        for hit in hits:
            source = hit.get("_source") or {}
            request = msgspec.Raw(msgspec.json.encode(source.get("request")))
            yield request, frozenset(tools_of(source))
        if len(hits) < size:
            return

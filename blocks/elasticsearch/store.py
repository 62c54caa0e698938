"""The log store in Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.discovery import discover
from blocks.elasticsearch.failures import translated
from blocks.elasticsearch.mapping import check_mapping
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.ports import LogBatch, LogQuery, WorkloadSummary
from flywheel.progress import Progress

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


class ElasticsearchLogStore:
    """Logged calls in an index, alias, data stream or pattern of Elasticsearch 8 or 9.

    Reading goes over one frozen view of the log, so that what is written meanwhile neither shifts nor doubles
    anything. What is held is a few pages, whatever the log's size; choosing a sample holds the names of at most twice
    as many records as are chosen.

    Args:
        settings: Where it is. Nothing is asked before the first read.
        max_record_bytes: Longest record that is read; longer ones are refused as `too_large`.
    """

    def __init__(self, settings: ElasticsearchSettings, max_record_bytes: int = 4_000_000) -> None:
        self.settings = settings
        self.max_record_bytes = max_record_bytes

    def read(self, query: LogQuery, progress: Progress) -> Iterator[LogBatch]:
        """See `blocks.ports.LogStore`. A record's origin is `<index>/<_id>`.

        Records that name no workload or no client, and may be ours, are refused: of those, too, `limit` at most.
        """
        from blocks.elasticsearch.pages import PAGE_SERIALIZERS
        from blocks.elasticsearch.reading import Reading

        with (
            translated(self.settings),
            connect(self.settings) as client,
            connect(self.settings, PAGE_SERIALIZERS) as pages,
        ):
            mapping = check_mapping(client, self.settings)
            yield from Reading(
                client, pages, self.settings, mapping, query, self.max_record_bytes, progress
            ).batches()

    def workloads(self, progress: Progress) -> list[WorkloadSummary]:
        """See `blocks.ports.LogStore`. Tools are those of the newest few records of each workload."""
        with translated(self.settings), connect(self.settings) as client:
            mapping = check_mapping(client, self.settings)
            return discover(client, self.settings, mapping, progress)

    def with_groups(self, found: list[WorkloadSummary], progress: Progress) -> list[WorkloadSummary]:
        """What `workloads` gave, with what the records without a workload id look like, by a sample of the newest."""
        from blocks.elasticsearch.untagged import with_groups

        with translated(self.settings), connect(self.settings) as client:
            return with_groups(client, self.settings, found, progress)

    def client(self) -> Elasticsearch:
        """A client of one's own, for what is not reading."""
        return connect(self.settings)

    def __repr__(self) -> str:
        shown: Any = self.settings
        return f"ElasticsearchLogStore({shown!r})"

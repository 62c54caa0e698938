"""Log files into an index: template, index, documents, refusals, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from blocks.connections import log_store_named
from blocks.elasticsearch.bulk import BulkLoader, Loaded, bulk_serializers
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.documents import Document, documents_of
from blocks.elasticsearch.failures import translated
from blocks.elasticsearch.mapping import check_mapping
from blocks.elasticsearch.settings import DEFAULT_INDEX, ElasticsearchSettings
from blocks.elasticsearch.store import ElasticsearchLogStore
from blocks.elasticsearch.template import put_template
from flywheel.curation.batches import Refusal
from flywheel.curation.rejected import RejectedWriter
from flywheel.errors import ConfigError
from flywheel.progress import Progress
from flywheel.report.loading import LoadReport
from flywheel.traces.calls import NO_LABELS, Labels

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

REFUSED = "refused_by_store"
DEFAULT_TARGET = "log-store-ingested"


async def loading_settings(to: str) -> ElasticsearchSettings:
    """How to reach the store of that name: 'elasticsearch' (by environment), or a saved block's.

    Raises: ConfigError for a store that nothing can be loaded into.
    """
    store = await log_store_named(to) if to != "files" else None
    if not isinstance(store, ElasticsearchLogStore):
        raise ConfigError(
            f"Records cannot be loaded into {to!r}; use 'elasticsearch', or a saved block of that kind."
        )
    return store.settings


def target_index(settings: ElasticsearchSettings, index: str | None = None) -> str:
    """The one index to load into: `index`, else the settings' own if that is no pattern.

    Raises: ConfigError for a pattern of one's own, or several indices.
    """
    name = index or (DEFAULT_TARGET if settings.index == DEFAULT_INDEX else settings.index)
    if any(letter in name for letter in "*?,") or not name:
        raise ConfigError(f"Records cannot be loaded into {name!r}; name one index with --index.")
    return name


def load_files(
    paths: Sequence[Path],
    settings: ElasticsearchSettings,
    index: str,
    rejected: Path,
    progress: Progress,
    *,
    max_record_bytes: int = 4_000_000,
    first_pause: float = 0.5,
    labels: Labels = NO_LABELS,
) -> LoadReport:
    """Load files and directories of logs; again is harmless, what is there already is left alone.

    An index that is missing is made with our mapping; of one that is there the mapping is checked first.

    Args:
        rejected: File for the lines that were refused, here or by Elasticsearch; replaced.
        first_pause: Seconds before a document that the server was too busy for is sent again.
        labels: What tells workload and client of calls that a tracing tool recorded.
    Raises: DataError (nothing to read, an unfit index), RemoteError.
    """
    report = LoadReport(index, str(rejected))
    with (
        translated(settings),
        connect(settings, bulk_serializers()) as client,
        RejectedWriter(rejected) as refused,
    ):
        _prepare(client, replace(settings, index=index))
        loader = BulkLoader(client, index, attempts=settings.attempts, first_pause=first_pause)
        documents = _without_refusals(
            documents_of(paths, max_record_bytes, progress, labels), report, refused
        )
        for loaded in loader.load(documents):
            _count(loaded, report, refused)
        client.indices.refresh(index=index)
    return report


def _prepare(client: Elasticsearch, settings: ElasticsearchSettings) -> None:
    if client.indices.exists(index=settings.index):
        check_mapping(client, settings)
        return
    put_template(client, DEFAULT_INDEX if fnmatchcase(settings.index, DEFAULT_INDEX) else settings.index)
    from elasticsearch import BadRequestError

    try:
        # Not left to the first document: where a cluster forbids that, loading would fail.
        client.indices.create(index=settings.index)
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":  # another load was faster
            raise


def _without_refusals(
    found: Iterable[Document | Refusal], report: LoadReport, refused: RejectedWriter
) -> Iterator[Document]:
    for each in found:
        if isinstance(each, Document):
            yield each
        else:
            report.file(each.file or "").refuse(each.reason)
            refused.write(each.reason, each.detail, each.file, each.line, each.record)


def _count(loaded: Loaded, report: LoadReport, refused: RejectedWriter) -> None:
    for document in loaded.created:
        file = report.file(document.file)
        file.lines += 1
        file.created += 1
    for document in loaded.existing:
        file = report.file(document.file)
        file.lines += 1
        file.existing += 1
    for each in loaded.refused:
        document = each.document
        report.file(document.file).refuse(REFUSED)
        refused.write(REFUSED, each.detail, document.file, document.line, msgspec.Raw(document.body))

"""The index template that logged calls want.

Identifiers are `keyword`: matched whole, never taken apart into words. Payloads are stored and not indexed. Unknown
fields are kept in the document and not indexed, so that no record is refused for having one and no mapping grows
without end. A value that does not fit its field leaves the record in place; only the field is not searchable then.

Times are ISO 8601 or seconds since 1970. Elasticsearch tries the formats in turn, and a number of milliseconds is
also a number of seconds, of some year far ahead; readers recognise such times and put them right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blocks.elasticsearch.settings import DEFAULT_INDEX

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

TEMPLATE = "flywheel-log-store"
VERSION = 1
TIME_FORMAT = "strict_date_optional_time||epoch_second"
_IDENTIFIER = {"type": "keyword", "ignore_above": 8_191}  # Lucene's limit of 32,766 bytes, at 4 a character
_COUNT = {"type": "long", "ignore_malformed": True}

MAPPINGS: dict[str, Any] = {
    "dynamic": False,
    "properties": {
        "id": _IDENTIFIER,
        "timestamp": {"type": "date", "format": TIME_FORMAT, "ignore_malformed": True},
        "workload_id": _IDENTIFIER,
        "client_id": _IDENTIFIER,
        "conversation_id": _IDENTIFIER,
        "description": {"type": "keyword", "index": False, "doc_values": False},
        "latency_ms": {"type": "double", "ignore_malformed": True},
        "time_to_first_token_ms": {"type": "double", "ignore_malformed": True},
        "tokens_in": _COUNT,
        "tokens_out": _COUNT,
        "request": {"type": "object", "enabled": False},
        "response": {"type": "object", "enabled": False},
    },
}
"""Mappings of an index of logged calls."""


def put_template(client: Elasticsearch, pattern: str = DEFAULT_INDEX) -> None:
    """Install the template for new indices of the pattern, or bring an older one up to date. May be repeated.

    It does not touch indices that exist.
    """
    name = TEMPLATE if pattern == DEFAULT_INDEX else f"{TEMPLATE}-{_slug(pattern)}"
    client.indices.put_index_template(
        name=name,
        index_patterns=[pattern],
        priority=500,  # above a catch-all template that somebody may have
        version=VERSION,
        template={"mappings": MAPPINGS},
        meta={"description": "Logged chat completions, as Flywheel reads them."},
    )


def _slug(pattern: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in pattern.lower()).strip("-") or "pattern"

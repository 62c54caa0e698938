"""Is the index fit to be read? What is not is told with the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blocks.elasticsearch.failures import missing_index
from blocks.elasticsearch.queries import TIME, TimeKind
from blocks.elasticsearch.settings import ElasticsearchSettings
from flywheel.errors import DataError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_KINDS: dict[str, TimeKind] = {
    "date": "date",
    "date_nanos": "date_nanos",
    **dict.fromkeys(("long", "integer", "unsigned_long", "double", "float", "scaled_float"), "number"),
}
_EXACT = ("keyword", "constant_keyword")
_NUMBERS = frozenset(("long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float"))


class LogMapping:
    """What reading has to know of the indices behind the name.

    `time` is how times are indexed; `reads_seconds` whether a bare number is read as seconds; `numbers` are the
    figures that can be averaged in all indices.
    """

    def __init__(self, time: TimeKind, reads_seconds: bool, numbers: list[str]) -> None:
        self.time = time
        self.reads_seconds = reads_seconds
        self.numbers = numbers


def check_mapping(client: Elasticsearch, settings: ElasticsearchSettings) -> LogMapping:
    """Look at the mapping of every index behind `settings.index`.

    Raises: DataError for a missing index, identifiers that are not matched whole, times that cannot be ordered, or
        documents that are not kept.
    """
    answer = client.indices.get_mapping(index=settings.index).body
    mappings = {index: body.get("mappings", {}) for index, body in sorted(answer.items())}
    if not mappings:
        raise missing_index(settings)
    times, formats = set(), []
    for index, mapping in mappings.items():
        if mapping.get("_source", {}).get("enabled") in (False, "false"):
            raise DataError(
                f"The index {index} does not keep its documents (_source is off), so there is nothing to read; "
                "load the log into another index with `flywheel ingest FILES --to elasticsearch`."
            )
        fields = mapping.get("properties", {})
        for name in ("workload_id", "client_id"):
            _check_identifier(index, name, fields.get(name), settings)
        times.add(_time_of(index, fields.get(TIME), settings))
        formats.append(str(fields.get(TIME, {}).get("format", "")))
    if len(times) > 1:
        if "number" in times:
            raise DataError(
                f"The indices of {settings.index} hold times in different types ({', '.join(sorted(times))}), which "
                f"cannot be ordered. {_mend(next(iter(mappings)), settings)}"
            )
        times = {"date"}
    numbers = [
        name
        for name in ("latency_ms", "tokens_in", "tokens_out")
        if all(m.get("properties", {}).get(name, {}).get("type") in _NUMBERS for m in mappings.values())
    ]
    return LogMapping(times.pop(), all("epoch_second" in text for text in formats), numbers)


def misread_times(index: str, settings: ElasticsearchSettings) -> DataError:
    """The error for seconds that the index takes for milliseconds."""
    return DataError(
        f"{index} reads the log's seconds as milliseconds, so that every record is of January 1970 and none is newest. "
        f"{_mend(index, settings)}"
    )


def _check_identifier(
    index: str, name: str, field: dict[str, Any] | None, settings: ElasticsearchSettings
) -> None:
    if field is None:
        raise DataError(f"The index {index} has no field {name} to find records by. {_mend(index, settings)}")
    if field.get("type") not in _EXACT:
        raise DataError(
            f"The index {index} maps {name} as {field.get('type', 'object')}: it takes identifiers apart into words, "
            f"so that other workloads match, too. {_mend(index, settings)}"
        )


def _time_of(index: str, field: dict[str, Any] | None, settings: ElasticsearchSettings) -> TimeKind:
    kind = _KINDS.get((field or {}).get("type", ""))
    if kind is None:
        found = f"maps timestamp as {field.get('type', 'object')}" if field else "has no field timestamp"
        raise DataError(
            f"The index {index} {found}, so records have no order in time. {_mend(index, settings)}"
        )
    return kind


def _mend(index: str, settings: ElasticsearchSettings) -> str:
    if any(c in index for c in "*,"):
        index = "INDEX"
    return (
        f"Copy it into one with the right mapping: `python -m blocks.elasticsearch.mend {index} log-store-{index}`, "
        f"then read log-store-{index}."
    )

"""One part of the extracted table to one part of the validated one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.config import ValidationConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.extraction import COMPRESSION
from flywheel.curation.rejected import RejectedWriter
from flywheel.curation.schema import EXTRACTED, RECORD_FIELDS, VALIDATED
from flywheel.curation.validation.derived_columns import Deriver, record_id
from flywheel.curation.validation.report import ValidationReport
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Drop, Keep

_REPEATING = ["conversation_id", "answer_class", "context_hash", "roles", "file"]
_AS_LOGGED = (*RECORD_FIELDS, "file", "line")
_PAYLOADS = ("request", "response")
_ORIGIN = ("file", "line", "extra")
_BATCH = 4_096


def validate_part(part: Path, validated: Path, rejected: Path, config: ValidationConfig) -> ValidationReport:
    """Judge the records of the file `part`; write the usable ones to `validated`, the others to `rejected`."""
    report = ValidationReport()
    validator, deriver = Validator(config), Deriver()
    with (
        pq.ParquetFile(part) as extracted,
        pq.ParquetWriter(validated, VALIDATED, use_dictionary=_REPEATING, **COMPRESSION) as writer,
        RejectedWriter(rejected) as refused,
    ):
        for batch in extracted.iter_batches(batch_size=_BATCH):
            table = _Batch(batch, validator, deriver, refused, report).validated()
            if table.num_rows:
                writer.write_batch(table)
        report.reasons.update(refused.reasons)
    return report


class _Batch:
    """Works through one batch, a row at a time, into columns."""

    def __init__(
        self,
        batch: pa.RecordBatch,
        validator: Validator,
        deriver: Deriver,
        refused: RejectedWriter,
        report: ValidationReport,
    ) -> None:
        self._batch = batch
        self._validator = validator
        self._deriver = deriver
        self._refused = refused
        self._report = report
        self._kept: list[int] = []
        self._rows: list[tuple[Any, ...]] = []

    def validated(self) -> pa.RecordBatch:
        """The usable records of the batch."""
        names = (*_PAYLOADS, "extra", "id", "file", "line")
        columns = (self._batch.column(name).to_pylist() for name in names)
        for row, (request, response, extra, logged_id, file, line) in enumerate(zip(*columns, strict=True)):
            verdict = self._validator.judge(request, response, extra)
            if isinstance(verdict, Drop):
                self._refuse(row, verdict)
            else:
                name = self._keep(row, verdict, logged_id)
                self._report.keep(verdict, name, file, line)
        self._report.read += self._batch.num_rows
        logged = self._batch
        if len(self._kept) < logged.num_rows:
            logged = logged.take(column(self._kept, pa.int64()))
        columns_of = dict(zip(_DERIVED, zip(*self._rows, strict=True), strict=True)) if self._rows else {}
        arrays = [
            logged.column(field.name)
            if field.name in _AS_LOGGED
            else column(columns_of.get(field.name, ()), field.type)
            for field in VALIDATED
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=VALIDATED)

    def _keep(self, row: int, call: Keep, logged_id: str | None) -> str:
        derived = self._deriver.derive(call)
        hashes, text = derived.fingerprint, derived.conversation
        self._kept.append(row)
        self._rows.append(
            (
                logged_id if logged_id is not None else self._made_id(row, call, hashes),
                call.choice,
                derived.answer_class,
                hashes.request,
                hashes.answer,
                hashes.context,
                text.roles,
                text.text,
                text.last_message_start,
                hashes.thread,
                hashes.prefixes,
            )
        )
        return derived.answer_class

    def _made_id(self, row: int, call: Keep, hashes: Any) -> str:
        names = ("workload_id", "client_id", "conversation_id", "timestamp")
        return record_id(call, hashes, [self._value(name, row) for name in names])

    def _refuse(self, row: int, drop: Drop) -> None:
        record = {}
        for field in EXTRACTED:
            value = self._value(field.name, row)
            if value is not None and field.name not in _ORIGIN:
                record[field.name] = _as_json(value) if field.name in _PAYLOADS else value
        extra = self._value("extra", row)
        if extra is not None:
            record |= msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
        self._refused.write(
            drop.reason, drop.detail, self._value("file", row), self._value("line", row), record
        )

    def _value(self, name: str, row: int) -> Any:
        return self._batch.column(name)[row].as_py()


_DERIVED = (
    "record_id",
    "choice",
    "answer_class",
    "request_hash",
    "answer_hash",
    "context_hash",
    "roles",
    "text",
    "last_message_start",
    "thread_hash",
    "prefix_hashes",
)


def _as_json(payload: bytes) -> Any:
    """The payload as an object; as text where it turned out to be no JSON."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="backslashreplace")

"""What happens to the records of a log before any of them is written: erased ones stay out, personal data goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec
import numpy as np
import pyarrow as pa

from flywheel.config import FlywheelConfig, ValidationConfig
from flywheel.curation.batches import LogBatch, Refusal
from flywheel.curation.schema import EXTRACTED
from flywheel.curation.validated_table import flags
from flywheel.curation.validation.derived_columns import Deriver, record_id
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Drop
from flywheel.redaction.batches import Redaction

ERASED = "erased"
_LOGGED = ("workload_id", "client_id", "conversation_id", "timestamp")


class Intake:
    """Takes batches in, and counts.

    Args:
        config: Says what is redacted, and how records are judged (for the ids of those that the log gave none).
        erased: Ids of records that must not be used any more; each is refused as `erased`, without its content.

    Raises: ConfigError where the function that finds names cannot be loaded.
    """

    def __init__(self, config: FlywheelConfig, erased: Collection[str] = ()) -> None:
        redaction = config.redaction_config
        self._redaction = Redaction(redaction) if redaction.enabled else None
        self._erasure = _Erasure(frozenset(erased), config.validation_config) if erased else None

    def of(self, batches: Iterable[LogBatch]) -> Iterator[LogBatch]:
        """The batches as the first step may write them; the very same where nothing is to be done."""
        for batch in batches:
            yield self._taken_in(batch)

    def table(self, records: pa.Table) -> pa.Table:
        """The same for records that are at hand, as `EXTRACTED`: those that an earlier run kept."""
        batches = [self._taken_in(LogBatch(batch)).records for batch in records.to_batches()]
        return pa.Table.from_batches(batches, schema=EXTRACTED)

    def _taken_in(self, batch: LogBatch) -> LogBatch:
        if self._erasure is not None:
            batch = self._erasure.batch(batch)
        if self._redaction is not None:
            batch = self._redaction.batch(batch)
            if (
                self._erasure is not None
            ):  # an id that is made from the content was made from the redacted one
                batch = self._erasure.batch(batch)
        return batch

    def counts(self) -> dict[str, int]:
        """`erased` records; `redacted` ones, and placeholders as `redacted_<kind>`. Empty where nothing is done."""
        counts = {} if self._erasure is None else {ERASED: self._erasure.count}
        if self._redaction is not None:
            found = self._redaction.counts()
            counts["redacted"] = found.pop("records")
            counts |= {f"redacted_{kind}": count for kind, count in found.items()}
        return counts


class _Erasure:
    def __init__(self, ids: frozenset[str], config: ValidationConfig) -> None:
        self._ids = ids
        self._validator, self._deriver = Validator(config), Deriver()
        self.count = 0

    def batch(self, batch: LogBatch) -> LogBatch:
        rows = batch.records
        erased = [
            row
            for row, logged in enumerate(rows.column("id").to_pylist())
            if (logged if logged is not None else self._made_id(batch, row)) in self._ids
        ]
        if not erased:
            return batch
        self.count += len(erased)
        keep = np.ones(rows.num_rows, dtype=bool)
        keep[erased] = False
        files, lines = rows.column("file"), rows.column("line")
        gone = [
            Refusal(ERASED, "The record was erased on request.", files[row].as_py(), lines[row].as_py(), None)
            for row in erased
        ]
        return msgspec.structs.replace(
            batch, records=rows.filter(flags(keep)), refused=[*batch.refused, *gone]
        )

    def _made_id(self, batch: LogBatch, row: int) -> str | None:
        """The id that validation would make; None of a record that it would refuse."""
        request, response, extra = (
            batch.records.column(name)[row].as_py() for name in ("request", "response", "extra")
        )
        call = self._validator.judge(request, response, extra)
        if isinstance(call, Drop):
            return None
        logged = [batch.records.column(name)[row].as_py() for name in _LOGGED]
        return record_id(call, self._deriver.derive(call).fingerprint, logged)

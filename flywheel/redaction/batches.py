"""Redaction of what a log store reads, a batch at a time.

Most records hold nothing to redact. One pass of a linear-time matcher over the raw JSON tells which may, and only
those are decoded; the others stay the very bytes that were logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.config.redaction import RedactionConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.batches import LogBatch, Refusal
from flywheel.evaluation.user_functions import load_function
from flywheel.redaction.detectors import Detector
from flywheel.redaction.record_redactor import RecordRedactor

_COLUMNS = ("request", "response", "extra", "description")
_GAP = r"(?:[ .()/-]|\xc2\xa0|\xe2\x80\x91|\\u00[aA]0|\\u2011)"
_SUSPECTS = {
    "email": r"@",
    "card": r"[2-6](?:[ -]?[0-9]){12}",
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|::[0-9A-Fa-f]|[0-9A-Fa-f]::|(?:[0-9A-Fa-f]{1,4}:){6}",
    "phone": rf"\+{_GAP}?[1-9]|0[1-9][0-9]{{1,4}}\)?{_GAP}{{1,2}}[0-9][0-9]|00[1-9][0-9]{{0,2}}{_GAP}{{1,2}}[0-9]"
    rf"|[0-9]{{3}}\)?{_GAP}{{1,2}}[0-9]{{3}}{_GAP}[0-9]{{4}}"
    rf"|(?i:tel|phone|mobile|cell|fax|whatsapp)[^0-9]{{0,40}}[0-9](?:{_GAP}{{0,2}}[0-9]){{6}}",
    "key": r"(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_|github_pat_|glpat-|hf_|nvapi-"
    r"|npm_|pypi-|xox[abeprs]-|AIza|eyJ|PRIVATE KEY|(?i:bearer )"
    r"|(?i:api[_ -]?key|token|secret|passw(?:or)?d|authorization|private_?key)[^A-Za-z0-9]",
}
"""For each kind a pattern of RE2 that matches the raw JSON wherever its detector could find something in the text.
None looks at what stands before: the `n` of an escaped line end would be taken for a letter."""
_ESCAPED = r"\\u00[2-7]"
"""A letter or a digit in disguise: then only decoding tells."""


class Redaction:
    """Takes batches through redaction, and counts.

    Raises: ConfigError where the function that finds names cannot be loaded.
    """

    def __init__(self, config: RedactionConfig) -> None:
        names = load_function(config.names) if config.names else None
        self._record = RecordRedactor(Detector(config.kinds, names))
        suspects = "|".join([*(_SUSPECTS[kind] for kind in config.kinds), _ESCAPED])
        self._suspects = None if names else suspects
        self._records = 0

    def of(self, batches: Iterable[LogBatch]) -> Iterator[LogBatch]:
        """The same batches with placeholders, refused lines included."""
        for batch in batches:
            yield self.batch(batch)

    def counts(self) -> dict[str, int]:
        """`records` in which anything was replaced, and the replacements by kind."""
        return {"records": self._records, **dict(sorted(self._record.counts.items()))}

    def batch(self, batch: LogBatch) -> LogBatch:
        """One batch."""
        refused = [self._refusal(refusal) for refusal in batch.refused]
        return msgspec.structs.replace(batch, records=self._rows(batch.records), refused=refused)

    def _rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        suspicious = {name: self._suspicious(rows.column(name)) for name in _COLUMNS}
        changed: dict[str, dict[int, Any]] = {name: {} for name in _COLUMNS}
        record = self._record
        for row in np.flatnonzero(np.logical_or.reduce(list(suspicious.values()))).tolist():
            record.begin()
            for name in _COLUMNS:  # in this order, so that a placeholder has its number from the request
                if suspicious[name][row]:
                    old = rows.column(name)[row].as_py()
                    new = record.text(old) if name == "description" else record.payload(old)
                    if new is not old:
                        changed[name][row] = new
            self._records += bool(record.replaced)
        for name, values in changed.items():
            if values:
                rows = _with_values(rows, name, values)
        return rows

    def _suspicious(self, values: pa.Array) -> npt.NDArray[np.bool_]:
        """Which of the values may hold something."""
        there = np.ones(len(values), dtype=bool)
        if values.null_count:
            there = _bits(values.is_valid())
        if self._suspects is None or not there.any():
            return there
        import pyarrow.compute as pc

        if pa.types.is_string(values.type):
            values = values.cast(pa.binary())  # the pattern is of bytes
        return there & _bits(pc.match_substring_regex(values, self._suspects))

    def _refusal(self, refusal: Refusal) -> Refusal:
        record = self._record
        record.begin()
        kept = record.value(refusal.record)
        detail = record.text(refusal.detail)
        if not record.replaced:
            return refusal
        self._records += 1
        return msgspec.structs.replace(refusal, record=kept, detail=detail)


def _bits(flags: pa.Array) -> npt.NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(flags.buffers()[1], dtype=np.uint8), bitorder="little")
    return bits[flags.offset : flags.offset + len(flags)].astype(bool)


def _with_values(rows: pa.RecordBatch, name: str, values: dict[int, Any]) -> pa.RecordBatch:
    whole = rows.column(name).to_pylist()
    for row, value in values.items():
        whole[row] = value
    position = rows.schema.get_field_index(name)
    return rows.set_column(position, rows.schema.field(name), column(whole, rows.schema.field(name).type))

"""Writing what was refused: nothing that was read is lost."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec


class RejectedWriter:
    """Appends lines to a rejected file (`curation.schema.REJECTED_FILE`), which it makes even if nothing is refused."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self.reasons: dict[str, int] = {}

    def write(self, reason: str, detail: str, file: str | None, line: int | None, record: Any) -> None:
        """`record` is the logged record as an object (raw JSON will do), or its text if it is not one."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        row = {"reason": reason, "detail": detail, "file": file, "line": line, "record": record}
        self._file.write(self._encoder.encode(row) + b"\n")

    def __enter__(self) -> RejectedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

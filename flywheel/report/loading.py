"""What came in and what did not, when files were loaded into a log store."""

from __future__ import annotations

from typing import Any

import msgspec

from flywheel.report.escaping import cell

MOST_FILES = 200
Row = dict[str, Any]


class FileReport(msgspec.Struct):
    """What became of a file's lines: `lines` is the sum of the others, the reasons' counts being `refused`."""

    lines: int = 0
    created: int = 0
    existing: int = 0
    refused: dict[str, int] = {}

    def refuse(self, reason: str) -> None:
        """Count a refused line."""
        self.lines += 1
        self.refused[reason] = self.refused.get(reason, 0) + 1


class LoadReport(msgspec.Struct):
    """What became of all files. `rejected` is where the refused lines are."""

    index: str
    rejected: str
    files: dict[str, FileReport] = {}

    def file(self, name: str) -> FileReport:
        """The report of one file, begun with the first call."""
        return self.files.setdefault(name, FileReport())

    def total(self) -> FileReport:
        """The sum over all files."""
        total = FileReport()
        for file in self.files.values():
            total.lines += file.lines
            total.created += file.created
            total.existing += file.existing
            for reason, count in file.refused.items():
                total.refused[reason] = total.refused.get(reason, 0) + count
        return total


def loading_rows(report: LoadReport) -> list[Row]:
    """One row for each file, those with the most refused lines first, and one for all; every text escaped."""
    files = sorted(report.files.items(), key=lambda item: (-sum(item[1].refused.values()), item[0]))
    rows = [_row(cell(name), file) for name, file in files[:MOST_FILES]]
    if len(files) > MOST_FILES:
        rest = LoadReport("", "", dict(files[MOST_FILES:]))
        rows.append(_row(f"{len(rest.files)} more files", rest.total()))
    if len(files) > 1:
        rows.append(_row("all files", report.total()))
    return rows


def _row(name: str, file: FileReport) -> Row:
    return {
        "file": name,
        "lines": file.lines,
        "new": file.created,
        "already there": file.existing,
        "refused": sum(file.refused.values()),
        "reasons": cell(", ".join(f"{reason} {count}" for reason, count in sorted(file.refused.items()))),
    }

"""What validation found, countable and small: it is stored with the datasets and shown in artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from flywheel.curation.validation.verdicts import Keep
from flywheel.errors import TooFewRecordsError

EXAMPLES = 20


class ValidationReport(msgspec.Struct):
    """Counts over the records of one part, or of many added up."""

    read: int = 0
    kept: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    answer_classes: Counter[str] = msgspec.field(default_factory=Counter)
    choices_used: Counter[int] = msgspec.field(default_factory=Counter)
    records_with_violations: int = 0
    violations_by_tool: Counter[str] = msgspec.field(default_factory=Counter)
    violation_examples: list[dict[str, Any]] = msgspec.field(default_factory=list)
    unusable_schemas: Counter[str] = msgspec.field(default_factory=Counter)

    def keep(self, call: Keep, name: str, file: str | None, line: int | None) -> None:
        """Count a usable record; `name` is the class of its answer."""
        self.kept += 1
        self.answer_classes[name] += 1
        if call.choices > 1:
            self.choices_used[call.choice] += 1
        if call.violations:
            self.records_with_violations += 1
            self.violations_by_tool.update(text.split(" ", 1)[0].rstrip(":") for text in call.violations)
            if len(self.violation_examples) < EXAMPLES:
                example = {"file": file, "line": line, "detail": "; ".join(call.violations)}
                self.violation_examples.append(example)
        if call.unusable_schemas:
            self.unusable_schemas.update(call.unusable_schemas)

    def add(self, other: ValidationReport) -> None:
        """Take in the counts of the next part."""
        self.read += other.read
        self.kept += other.kept
        for name in ("reasons", "answer_classes", "choices_used", "violations_by_tool", "unusable_schemas"):
            getattr(self, name).update(getattr(other, name))
        self.records_with_violations += other.records_with_violations
        self.violation_examples = [*self.violation_examples, *other.violation_examples][:EXAMPLES]

    def as_dict(self) -> dict[str, Any]:
        """Plain data; keys in a fixed order, so that the same records give the same bytes."""
        return {
            "read": self.read,
            "invalid": self.read - self.kept,
            "valid": self.kept,
            "reasons": _sorted(self.reasons),
            "answer_classes": _sorted(self.answer_classes),
            "several_choices": {
                "records": sum(self.choices_used.values()),
                "used": {str(choice): count for choice, count in sorted(self.choices_used.items())},
            },
            "schema_violations": {
                "records": self.records_with_violations,
                "by_tool": _sorted(self.violations_by_tool),
                "examples": self.violation_examples,
                "unusable_schemas": _sorted(self.unusable_schemas),
            },
        }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


@contextmanager
def telling_refusals(extracted: Mapping[str, Any], validated: Mapping[str, Any]) -> Iterator[None]:
    """Add to a `TooFewRecordsError` of the block what was refused: that may be why there are too few.

    Args:
        extracted: What `extraction.extract` gives.
        validated: What `ValidationReport.as_dict` gives.
    """
    try:
        yield
    except TooFewRecordsError as error:
        refused = Counter(extracted.get("reasons", {})) + Counter(validated.get("reasons", {}))
        if not refused:
            raise
        by_count = sorted(refused.items(), key=lambda reason: (-reason[1], reason[0]))
        reasons = ", ".join(f"{count} {name}" for name, count in by_count)
        raise TooFewRecordsError(f"{error} Refused were {refused.total()}: {reasons}.") from error

"""What curation found out about a log beside where its records went: why some were refused, and what is odd.

Kept with a run, and told in the same words by `flywheel curate`, by a run's summary and by its report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

MOST_SHOWN = 80
"""Characters of a fixed text."""


class LogFacts(msgspec.Struct, frozen=True):
    """Counts of records, except of requests where it says so.

    `refused` is by reason code; `odd_arguments` are kept calls whose arguments break their tool's own schema, by tool,
    in `odd_records` records. Of `repeated_requests`, which were asked more than once, production answered
    `answered_differently` in more than one way. `fixed_text` are requests that were compared without the long text
    that many of them hold, which is `fixed_share` of all text and begins as `fixed_example` does. `in_other_words` are
    requests that mean the same as another by their vectors; they are merged where `merged_by_meaning` says so.
    """

    refused: dict[str, int] = {}
    odd_records: int = 0
    odd_arguments: dict[str, int] = {}
    repeated_requests: int = 0
    answered_differently: int = 0
    fixed_text: int = 0
    fixed_share: float = 0.0
    fixed_example: str = ""
    in_other_words: int = 0
    merged_by_meaning: bool = False


def facts_of(
    extracted: Mapping[str, Any], validated: Mapping[str, Any], deduplicated: Mapping[str, Any]
) -> LogFacts:
    """The facts from the counts of the three steps that find them."""
    refused = Counter(extracted.get("reasons", {})) + Counter(validated.get("reasons", {}))
    if deduplicated.get("invalid"):
        refused["duplicate_id"] += deduplicated["invalid"]
    violations = validated.get("schema_violations", {})
    noise = deduplicated.get("teacher_noise", {})
    fixed = deduplicated.get("fixed_text", {})
    meaning = deduplicated.get("same_meaning", {})
    return LogFacts(
        refused=dict(_largest_first(refused)),
        odd_records=violations.get("records", 0),
        odd_arguments=dict(violations.get("by_tool", {})),
        repeated_requests=noise.get("repeated_requests", 0),
        answered_differently=noise.get("with_different_answers", 0),
        fixed_text=fixed.get("records", 0),
        fixed_share=fixed.get("share_of_text", 0.0),
        fixed_example=next(iter(fixed.get("examples", ())), ""),
        in_other_words=meaning.get("repeats", 0),
        merged_by_meaning=meaning.get("mode") == "merge",
    )


def sentences(facts: LogFacts, examples_in: str = "") -> list[str]:
    """What a reader should know of the log; nothing where there is nothing.

    Args:
        examples_in: The file with examples of odd arguments; empty where the reader has none.
    """
    found = []
    if facts.refused:
        found.append(
            f"Refused: {_listed(facts.refused)}. Each is in rejected.jsonl, with its file, its line and what is wrong."
        )
    if facts.odd_records:
        examples = f"{examples_in} has examples; " if examples_in else ""
        found.append(
            f"Kept, with arguments that break the tool's own schema: {facts.odd_records:,} "
            f"({_listed(facts.odd_arguments)}). {examples}validation_config.refuse_schema_violations refuses them."
        )
    if facts.repeated_requests:
        found.append(
            f"Asked more than once: {facts.repeated_requests:,} requests, of which production answered "
            f"{facts.answered_differently:,} in more than one way"
            + (
                "; dedup_config.contradictions may keep these out of training."
                if facts.answered_differently
                else "."
            )
        )
    if facts.fixed_text:
        begin = facts.fixed_example[:MOST_SHOWN]
        found.append(
            f"Compared without the long text that many requests hold: {facts.fixed_text:,} requests, "
            f"{facts.fixed_share:.0%} of all their text, which begins with “{begin}”. "
            "dedup_config.leave_out_fixed_text=false compares requests as they stand."
        )
    if facts.in_other_words:
        merged = "and were merged" if facts.merged_by_meaning else "and would be merged by 'merge'"
        found.append(
            f"Asked in other words: {facts.in_other_words:,} requests mean the same as another {merged} "
            "(dedup_config.semantic)."
        )
    return found


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in _largest_first(counts))


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))

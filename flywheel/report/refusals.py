"""Why records were refused, as rows beside the funnel."""

from __future__ import annotations

from flywheel.curation.validation.verdicts import REASONS
from flywheel.findings.log_facts import sentences
from flywheel.report.escaping import cell
from flywheel.report.tables import FUNNEL_LABELS, Row, funnel_rows
from flywheel.results import RunResult

REFUSALS_TITLE = "Why records were refused"
MEANINGS = REASONS | {"duplicate_id": "a newer record has the same id and other content"}


def refusal_rows(run: RunResult) -> list[Row]:
    """One row for each reason, most frequent first: its code, as in `rejected.jsonl`, and what it means."""
    refused = run.log_facts.refused if run.log_facts else {}
    return [
        {"reason": cell(code), "records": count, "what is wrong": cell(MEANINGS.get(code, ""))}
        for code, count in refused.items()
    ]


def funnel_with_reasons(run: RunResult) -> list[Row]:
    """The funnel, with the reasons under what was invalid: one table, since an artifact has room for one."""
    rows: list[Row] = []
    for row in funnel_rows(run.funnel):
        rows.append(row)
        if row["step"] == FUNNEL_LABELS["invalid"]:
            rows += [
                {
                    "step": f"of the invalid, {entry['reason']}: {entry['what is wrong']}",
                    "records": entry["records"],
                }
                for entry in refusal_rows(run)
            ]
    return rows


def log_remarks(run: RunResult) -> list[str]:
    """Sentences on what is odd about the log; not escaped."""
    return sentences(run.log_facts) if run.log_facts else []

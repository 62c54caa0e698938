"""What training and serving make of the same rows, for people."""

from __future__ import annotations

import json

from flywheel.evaluation.parity import ParityReport
from flywheel.report.escaping import code_block

MOST_ROWS_SHOWN = 5


def parity_words(report: ParityReport) -> str:
    """One sentence with the first difference."""
    if report.equal:
        return f"Training and serving render {report.rows} sample prompts alike."
    first = report.differences[0]
    return (
        f"Training and serving render {len(report.differences)} of {report.rows} sample prompts differently; first at "
        f"token {first.position}: trained on {_listed(first.training)}, served {_listed(first.serving)}. The "
        "fine-tuned model will be asked with tokens that it was not trained on: let both use one chat template."
    )


def parity_markdown(report: ParityReport) -> str:
    """The sentence, and the tokens that differ of the first few rows."""
    blocks = [
        code_block(
            f"row {entry.row}, token {entry.position}, after {json.dumps(entry.before, ensure_ascii=False)}\n"
            f"training: {_listed(entry.training)}\nserving:  {_listed(entry.serving)}"
        )
        for entry in report.differences[:MOST_ROWS_SHOWN]
    ]
    heading = "alike" if report.equal else "**differently**"
    return "\n\n".join(
        [
            f"Training and serving render {report.rows} sample prompts {heading}"
            + ("." if report.equal else f": {len(report.differences)} differ."),
            *blocks,
        ]
    )


def _listed(tokens: list[str]) -> str:
    return json.dumps(tokens, ensure_ascii=False) if tokens else "nothing"

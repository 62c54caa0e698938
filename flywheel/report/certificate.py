"""The leakage certificate as a page."""

from __future__ import annotations

import json
from typing import Any

from flywheel.report.escaping import code_block, markdown, shortened

MOST_CHARACTERS = 200_000
"""Of the document: what a browser shows at once. The whole is with the datasets of the run."""


def certificate_markdown(certificate: dict[str, Any]) -> str:
    """What was checked, against what, and the closest pairs that remain; the whole document below."""
    clean = certificate.get("verdict") == "clean"
    lines = [
        "# Leakage certificate",
        "",
        "No evaluation item has a copy in training." if clean else "**Evaluation and training overlap.**",
        "",
    ]
    lines += [
        f"- {markdown(name)}: {markdown(json.dumps(value, ensure_ascii=False))}"
        for name, value in certificate.items()
        if not isinstance(value, list)
    ]
    lines += [
        "",
        "## The whole document",
        "",
        code_block(shortened(json.dumps(certificate, indent=2, ensure_ascii=False), MOST_CHARACTERS)),
        "",
    ]
    return "\n".join(lines)

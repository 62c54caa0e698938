"""Building blocks of these tests."""

from __future__ import annotations

from typing import Any

from flywheel.config import JudgeConfig
from flywheel.evaluation.scoring import scored
from flywheel.judging.metrics import JudgeMetric, metrics_of
from flywheel.results import EvalItem, Prediction
from tests.unit.evaluation.cases import text

SIMILARITY, TOOL_CALLING = metrics_of(JudgeConfig())

REFERENCE = "Your parcel left Warsaw on Monday and arrives on Thursday before noon."
POOR = "Bananas are yellow."


def answered(item: EvalItem, response: dict[str, Any] | None, error: str | None = None) -> Prediction:
    """A scored prediction."""
    return scored(item, Prediction(item.id, response, error=error))


def plain(name: str, answer: str, reference: str = REFERENCE) -> tuple[EvalItem, Prediction]:
    """A plain item with an answer to it."""
    item = EvalItem(
        name,
        {"messages": [{"role": "user", "content": f"Where is my parcel? ({name})"}]},
        text(reference),
        f"cluster of {name}",
    )
    return item, answered(item, text(answer))


__all__ = ["POOR", "REFERENCE", "SIMILARITY", "TOOL_CALLING", "JudgeMetric", "answered", "plain"]

"""What of an interrupted run still stands when it is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.config import FlywheelConfig
from flywheel.results import CandidateResult, RunResult

OF_NO_RESULT = frozenset(
    {
        "description",
        "logs",  # what was read is kept with the run and read again
        "connections",
        "gpu_slots",
        "analysis_config",
        "decision_config",
        "window_config",
        "budget_config",
        "candidates",  # each is compared by itself
    }
)
"""Settings that a candidate's result does not depend on."""

HOW_FAST = frozenset(
    {
        "concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "circuit_seconds",
        "timeout_seconds",
        "max_attempts",
    }
)
"""Settings of a section that change no answer and no score, only how long they take."""


def pending(config: FlywheelConfig) -> list[CandidateResult]:
    """A result to come for each candidate."""
    return [
        CandidateResult(candidate=candidate.name, model_name=candidate.model, status="pending")
        for candidate in config.candidates
    ]


def results_that_stand(earlier: RunResult, config: FlywheelConfig) -> list[CandidateResult]:
    """A result for each candidate of `config`: the earlier attempt's where nothing that decides it has changed since.

    Another candidate under an old name, other settings of the evaluation, and so on: such a result would be reported
    under settings that it was not made with. The data are compared where they are known, in `same_data`.
    """
    settings = config.model_dump(mode="json")
    if _deciding(earlier.config) != _deciding(settings):
        return pending(config)
    before = {entry.get("name"): entry for entry in earlier.config.get("candidates") or []}
    done = {result.candidate: result for result in earlier.candidates}
    return [
        done[new.candidate] if new.candidate in done and before.get(new.candidate) == entry else new
        for new, entry in zip(pending(config), settings["candidates"], strict=True)
    ]


def same_data(earlier: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether the datasets of two attempts are the same; an attempt that got to none has nothing to differ in.

    Args:
        earlier, now: Addresses by kind. Their last part is the name, which is made from the content; the rest is where
            they lie, and a store may have been moved.
    """
    return not earlier or _names(earlier) == _names(now)


def _names(datasets: Mapping[str, str]) -> dict[str, str]:
    return {kind: uri.rpartition("/")[2] for kind, uri in datasets.items()}


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: entry for key, entry in value.items() if key not in HOW_FAST}
        if isinstance(value, Mapping)
        else value
        for name, value in settings.items()
        if name not in OF_NO_RESULT
    }

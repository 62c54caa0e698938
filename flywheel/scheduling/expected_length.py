"""How long a candidate's work may take. It decides the order in which candidates get GPU slots, and whether a bound of
hours is told to be short; it stops nothing.

The best guess is what it took last time. On a first night there is none, and what is known then is the size of the
model, which its name says more often than not, and the number of rows: training takes 6 floating-point operations for
each parameter and token, asking takes 2 (Kaplan et al. 2020, Scaling Laws for Neural Language Models).
The result may be wrong by a factor of two or three; for the order that is far better than nothing
(`benchmarks/gpu_slots.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from flywheel.config import CandidateConfig
from flywheel.results import CandidateResult, RunResult

TYPICAL_BILLIONS = 8.0
"""Parameters of a model whose name does not say."""

TOKENS_A_ROW = 1_000
"""Prompt and answer. The rows of one workload are alike, so that it hardly touches the order."""

OPERATIONS_A_SECOND = 1e14
"""What one GPU sustains: about a third of what a data-centre GPU of these years can do in 16 bits."""

START_SECONDS = 300.0
"""Loading a model until its first answer."""

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


class Amount(msgspec.Struct, frozen=True):
    """Rows that a candidate is trained on (over all epochs) and that it is asked (over all evaluations)."""

    trained: int
    asked: int


def seconds_of_last_time(earlier: Iterable[CandidateResult], candidate: str, model: str) -> float | None:
    """As long as it took in the newest run that has it; None where no run has come to its end with it.

    Args:
        earlier: Candidates of earlier runs of the workload, those of the newest run first.
        candidate: The candidate's name.
        model: Its model; another candidate of the same model will do where the name is new.
    """
    of_model = [result for result in earlier if result.model_name == model and result.status == "completed"]
    for result in sorted(of_model, key=lambda result: result.candidate != candidate):
        parts = [evaluation.runtime_seconds or 0.0 for evaluation in result.evaluations]
        if result.customization is not None:
            parts.append(result.customization.runtime_seconds or 0.0)
        return max(1.0, sum(parts))
    return None


def estimated_seconds(candidate: CandidateConfig, amount: Amount) -> float:
    """What the size of the model and the number of rows let expect."""
    parameters = 1e9 * (billions_of_parameters(candidate.model) or TYPICAL_BILLIONS)
    asking = 2 * parameters * amount.asked * TOKENS_A_ROW / max(candidate.gpus, 1) / OPERATIONS_A_SECOND
    return START_SECONDS + asking + _training_seconds(candidate, amount.trained)


def seconds_of_training(
    candidate: CandidateConfig, rows: int, epochs: int, earlier: Iterable[RunResult]
) -> float:
    """How long a fine-tune may take: by the row as long as the newest one of this model, else by the model's size.

    Args:
        rows: Training rows of one epoch.
        earlier: Runs of the workload, newest first.
    """
    for run in earlier:
        for result in run.candidates:
            tuned = result.customization
            if (
                result.model_name != candidate.model
                or tuned is None
                or tuned.status != "completed"
                or tuned.cut
            ):
                continue
            passes = tuned.train_rows * _epochs_of(run, result.candidate)
            if tuned.runtime_seconds and passes:
                return tuned.runtime_seconds / passes * rows * epochs
    return _training_seconds(candidate, rows * epochs)


def _training_seconds(candidate: CandidateConfig, rows: int) -> float:
    parameters = 1e9 * (billions_of_parameters(candidate.model) or TYPICAL_BILLIONS)
    gpus = max(candidate.training_gpus, candidate.gpus, 1)
    return 6 * parameters * rows * TOKENS_A_ROW / gpus / OPERATIONS_A_SECOND


def _epochs_of(run: RunResult, candidate: str) -> int:
    """For how many epochs a run trained a candidate, by the settings that were stored with it; 0 where it has none."""
    named = [entry for entry in run.config.get("candidates", ()) if entry.get("name") == candidate]
    own = named[0].get("training_config") if named else None
    return int((own or run.config.get("training_config") or {}).get("epochs", 0))


def billions_of_parameters(model: str) -> float | None:
    """The size that a model's name or path says, as in `llama-3.1-8b-instruct`, `8x7b` or `135m`; else None."""
    found = _SIZE.findall(model.lower())
    if not found:
        return None
    times, number, unit = found[-1]
    return int(times or 1) * float(number) / (1 if unit == "b" else 1_000)

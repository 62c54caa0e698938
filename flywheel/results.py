"""What evaluations produce: predictions, scores, results of candidates and of runs.

All of it is plain typed data that goes to the stores and to reports as JSON. A score never stands alone: n, the
interval and the count of unscored items stand beside it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from flywheel.findings.analysis import Analysis, Decision, LoadTest
from flywheel.findings.log_facts import LogFacts

EvalType = Literal["base-eval", "icl-eval", "customized-eval"]
EVAL_TYPES: tuple[EvalType, ...] = ("base-eval", "icl-eval", "customized-eval")

CandidateStatus = Literal["pending", "running", "completed", "partial", "failed", "cancelled"]
RunStatus = Literal["running", "completed", "partial", "failed", "cancelled"]


class EvalItem(msgspec.Struct, frozen=True):
    """One row of `eval_data.jsonl`: what is asked, and what production answered.

    `cluster` names the group of dependent records (near-duplicates and turns of one conversation) that the item
    comes from; `weight` counts the logged calls that it stands for. `conversation` is the log's id of the conversation
    that it is a step of, where it gave one, and `timestamp` when it was asked then, in seconds since 1970.
    """

    id: str
    request: dict[str, Any]
    response: dict[str, Any]
    cluster: str
    weight: int = 1
    conversation: str | None = None
    timestamp: float | None = None


class Prediction(msgspec.Struct, frozen=True):
    """One answer of a candidate: one line of a predictions file.

    `response` is the chat completion verbatim, None where there was none; `error` then says why. `scores` holds one
    value in [0, 1] for each metric that applies; a metric that applies but could not be computed is None.
    `tool_calls` are the answer's calls as `{"name", "arguments"}`, arguments as an object where they are one.
    `ttft_ms` is the time to the first token, where answers were streamed. `mean_logprob` is the mean natural
    logarithm of the probabilities that the model gave to the answer's tokens, where the endpoint told them. `reused`
    is the run that asked, where it was an earlier one; such an answer has no times.
    """

    id: str
    response: dict[str, Any] | None = None
    latency_ms: float | None = None
    error: str | None = None
    scores: dict[str, float | None] = {}
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    attempts: int = 1
    tool_calls: list[dict[str, Any]] = []
    ttft_ms: float | None = None
    mean_logprob: float | None = None
    reused: str = ""


class Interval(msgspec.Struct, frozen=True):
    """A two-sided confidence interval."""

    low: float
    high: float
    level: float = 0.95


class TrafficMean(msgspec.Struct, frozen=True):
    """The mean over the same items, each counted as often as production was asked it."""

    value: float
    interval: Interval


class Score(msgspec.Struct, frozen=True):
    """A mean over `n` scored items; `value` and `interval` are None when n is 0.

    `unscored` counts items the metric applies to that got no score (no answer, unusable answer). They are not zeros.
    Every item counts once in `value`; `by_traffic` is there where the scored items stand for unequally many calls.
    """

    value: float | None
    n: int
    unscored: int
    interval: Interval | None = None
    by_traffic: TrafficMean | None = None


class Usage(msgspec.Struct, frozen=True):
    """What the answers cost to make. Means and percentiles are per answered item; times are in milliseconds.

    The time to the first token is known only where answers were streamed. `finish_reasons` counts how answers ended.
    `reused` of the answers are those of earlier runs, `reused_tokens_in` and `reused_tokens_out` their part of the
    tokens, which were not asked for again; no time is theirs.
    """

    answered: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms_mean: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p95: float | None = None
    tokens_in_p50: float | None = None
    tokens_in_p95: float | None = None
    tokens_out_p50: float | None = None
    tokens_out_p95: float | None = None
    finish_reasons: dict[str, int] = {}
    reused: int = 0
    reused_tokens_in: int = 0
    reused_tokens_out: int = 0


class Evaluation(msgspec.Struct, frozen=True):
    """One candidate on the evaluation items in one of three ways.

    `primary` names the score that stands for the whole in tables. `error` set means that it was not run, or not to
    its end, and why; `scores` is then empty or partial. Times are ISO 8601 in UTC. `runtime_seconds` is how long asking
    took, without the scoring; None where an earlier attempt asked some of the items. `specialist` is where the items
    and the predictions of a specialist evaluation set are, whose scores are among `scores` as `specialist/<metric>`.
    `in_context` is where the items lie with the examples that they were asked with. `answerer` is a digest of what is
    known of the model that answered: two evaluations with the same one asked the same model. `notes` are sentences on
    scores that could not be computed of some answers, or on items that could not be asked in this way.
    """

    eval_type: EvalType
    model: str
    primary: str | None = None
    scores: dict[str, Score] = {}
    items: int = 0
    usage: Usage = Usage()
    progress: float = 0.0
    started_at: str | None = None
    finished_at: str | None = None
    runtime_seconds: float | None = None
    predictions: str | None = None
    overrides: dict[str, Any] = {}
    error: str | None = None
    specialist: str | None = None
    in_context: str | None = None
    answerer: str = ""
    notes: list[str] = []


class LossPoint(msgspec.Struct, frozen=True):
    """Losses after so many optimiser steps; what was not measured there is None."""

    step: int
    train: float | None = None
    validation: float | None = None


class EpochScore(msgspec.Struct, frozen=True):
    """What the answers to some validation items scored after an epoch; `val_loss` was measured at the same time."""

    epoch: int
    metric: str
    score: Score
    val_loss: float | None = None


class Customization(msgspec.Struct, frozen=True):
    """One fine-tune of one candidate, as the platform reported it.

    `queued_seconds` is the wait for GPUs, which `runtime_seconds` does not hold. `skipped` counts the rows that this
    platform cannot train on, by reason. `losses` are a few hundred points of the training curve at most, by step.
    `kept_epoch` is the epoch whose weights these are, 0 where the platform does not say; `epoch_scores` are there where
    epochs were compared by their answers. `cut` says where and why it ended before all its epochs, by the bound of its
    settings; empty otherwise. `notes` are sentences on what could not be done as it was asked.
    """

    job: str
    model: str | None = None
    status: Literal["running", "completed", "failed", "cancelled"] = "running"
    train_loss: float | None = None
    val_loss: float | None = None
    train_rows: int = 0
    skipped_rows: int = 0
    tokens: int = 0
    runtime_seconds: float | None = None
    adapter: str | None = None
    error: str | None = None
    queued_seconds: float | None = None
    skipped: dict[str, int] = {}
    losses: list[LossPoint] = []
    kept_epoch: int = 0
    epoch_scores: list[EpochScore] = []
    cut: str = ""
    notes: list[str] = []

    @property
    def remarks(self) -> list[str]:
        """Sentences that belong beside every figure of the fine-tuned model."""
        kept = f"; the weights of epoch {self.kept_epoch} are kept" if self.kept_epoch else ""
        return [*([f"The fine-tune was {self.cut}{kept}."] if self.cut else []), *self.notes]


class CandidateResult(msgspec.Struct, frozen=True):
    """Everything known of one candidate in one run. `waits_for` says what keeps a pending one from going on."""

    candidate: str
    model_name: str
    status: CandidateStatus
    evaluations: list[Evaluation] = []
    customization: Customization | None = None
    error: str | None = None
    waits_for: Literal["", "window", "budget"] = ""


class Used(msgspec.Struct, frozen=True):
    """GPU-hours, and their price in the run's currency; None where it is not known."""

    gpu_hours: float = 0.0
    money: float | None = 0.0


class RunResult(msgspec.Struct, frozen=True):
    """One turn of the flywheel. `funnel` maps each step of curation to its counts.

    `eval_set` names the content of the evaluation items that are kept from run to run (`flywheel.evaluation.eval_set`),
    empty before they are there: two runs are comparable where it is the same. `memory` is where that which the run
    leaves for the next one lies (`flywheel.history.memory`).
    `used` is what each candidate has held of GPUs; `expected` what is set aside for those under way, for budgets.
    `log_facts` says why records were refused; None before curation, and in runs of an older flywheel.
    `part` says which part of the flywheel was turned (`flywheel.rerun.PartConfig`), empty for all of it.
    """

    run_id: str
    workload_id: str
    client_id: str
    status: RunStatus
    started_at: str
    finished_at: str | None = None
    message: str = ""
    production_model: str | None = None
    funnel: dict[str, int] = {}
    datasets: dict[str, str] = {}
    candidates: list[CandidateResult] = []
    config: dict[str, Any] = {}
    error: str | None = None
    eval_set: str = ""
    analysis: Analysis | None = None
    memory: str | None = None
    decisions: list[Decision] = []
    load_tests: list[LoadTest] = []
    used: dict[str, Used] = {}
    expected: dict[str, Used] = {}
    part: dict[str, Any] = {}
    log_facts: LogFacts | None = None

    @property
    def is_rerun(self) -> bool:
        """Whether it worked on the datasets of an earlier run, and so read nothing of the log."""
        return bool(self.part.get("of_run"))


class JudgeRun(msgspec.Struct, frozen=True):
    """What one judge model said of one evaluation of a run, under an id of its own.

    `verdicts` refers to the file of single verdicts in the dataset store; `error` set means that the judge did not get
    to the end, and why. Times are ISO 8601 in UTC.
    """

    id: str
    run_id: str
    candidate: str
    eval_type: EvalType
    judge: str
    created_at: str
    scores: dict[str, Score] = {}
    verdicts: str | None = None
    details: dict[str, Any] = {}
    error: str | None = None

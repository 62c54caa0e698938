"""Evaluator: jobs that score a model on a dataset, and their results."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.contracts.nemo_shapes.strict import (
    ONE,
    DatasetUrl,
    Detail,
    DnsName,
    JobState,
    NaiveTime,
    Page,
    Route,
    Strict,
)


class EvaluationTarget(Strict):
    type: Literal["model"]
    model: str | dict[str, Any]


class EvaluationParams(Strict):
    parallelism: int | UnsetType = UNSET
    limit_samples: int | UnsetType = UNSET
    max_retries: int | UnsetType = UNSET
    request_timeout: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET


class EvaluationDataset(Strict):
    files_url: DatasetUrl
    limit: int | UnsetType = UNSET


class ChatTemplate(Strict):
    messages: str | list[dict[str, Any]]
    tools: str | UnsetType = UNSET
    tool_choice: Any = UNSET
    temperature: float | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET


class TaskParams(Strict):
    template: ChatTemplate


class ToolCallingParams(Strict):
    tool_calls_ground_truth: str


class ToolCalling(Strict, tag_field="type", tag="tool-calling"):
    params: ToolCallingParams


class StringCheckParams(Strict):
    check: Annotated[list[str], Meta(min_length=3, max_length=3)]


class StringCheck(Strict, tag_field="type", tag="string-check"):
    params: StringCheckParams


class JudgeParser(Strict):
    type: Literal["regex"]
    pattern: str


class JudgeScore(Strict):
    type: Literal["int"]
    parser: JudgeParser


class JudgeTemplate(Strict):
    messages: list[dict[str, str]]


class JudgeParams(Strict):
    model: str | dict[str, Any]
    template: JudgeTemplate
    scores: dict[str, JudgeScore]


class LlmJudge(Strict, tag_field="type", tag="llm-judge"):
    params: JudgeParams


class EvaluationTask(Strict):
    type: Literal["chat-completion"]
    dataset: EvaluationDataset
    params: TaskParams
    metrics: dict[str, ToolCalling | StringCheck | LlmJudge]


class EvaluationSettings(Strict):
    type: Literal["custom"]
    params: EvaluationParams
    tasks: Annotated[dict[str, EvaluationTask], Meta(min_length=1)]


class EvaluationCreate(Strict):
    namespace: DnsName
    target: EvaluationTarget
    config: EvaluationSettings
    project: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    custom_fields: dict[str, Any] | UnsetType = UNSET


class EvaluationDetails(Strict):
    message: str | UnsetType | None = UNSET
    progress: float | UnsetType | None = UNSET
    samples_processed: int | UnsetType = UNSET
    task_status: dict[str, Literal["pending", "running", "completed", "failed"]] | UnsetType = UNSET


class EvaluationJob(Strict):
    id: Annotated[str, Meta(pattern="^eval-")]
    status: JobState
    status_details: EvaluationDetails
    result: str
    output_files_url: str | None
    config: dict[str, Any]
    target: dict[str, Any]
    namespace: str
    project: str | None
    description: str | None
    custom_fields: dict[str, Any]
    created_at: NaiveTime
    updated_at: NaiveTime


class ScoreStats(Strict):
    count: int
    sum: float
    mean: float


class ResultScore(Strict):
    value: float
    stats: ScoreStats | None


class ResultMetric(Strict):
    scores: dict[str, ResultScore]


class ResultTask(Strict):
    metrics: dict[str, ResultMetric]


class EvaluationResult(Strict):
    id: Annotated[str, Meta(pattern="^evaluation_result-")]
    job: str
    namespace: str
    created_at: NaiveTime
    updated_at: NaiveTime
    groups: dict[str, Any]
    tasks: dict[str, ResultTask]


ROUTES = [
    Route("nemo", "POST", "/v1/evaluation/jobs", EvaluationCreate, {200: EvaluationJob, 201: EvaluationJob}),
    Route("nemo", "GET", "/v1/evaluation/jobs", None, {200: Page}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}", None, {200: EvaluationJob, 404: Detail}),
    Route("nemo", "DELETE", f"/v1/evaluation/jobs/{ONE}", None, {200: None, 204: None, 404: Detail}),
    Route("nemo", "POST", f"/v1/evaluation/jobs/{ONE}/cancel", None, {200: EvaluationJob, 404: Detail}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}/results", None, {200: EvaluationResult}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}/download-results", None, {200: bytes}),
]

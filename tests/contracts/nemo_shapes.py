"""The shapes of the NeMo Microservices API (25.x, `/v1`) as far as the flywheel uses it.

Written down from the API's documentation, not from our client and not from the fake: every request that the client
sends and every body that the fake returns has to be of these shapes, with no field beside them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tests.fakes.nemo.exchanges import Exchange


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A shape with exactly these fields; one with UNSET may be missing, one with None may be null."""


Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=255)]
DnsName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Reference = Annotated[str, Meta(pattern=r"^[^/@ ]+/[^/@ ]+(@[^/ ]+)?$")]
NaiveTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$")]
ZuluTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
DatasetUrl = Annotated[str, Meta(pattern=r"^hf://datasets/[^/]+/[^/]+(/.+)?$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
JobState = Literal[
    "created", "pending", "running", "cancelling", "cancelled", "failed", "completed", "ready", "unknown"
]


class Detail(Strict):
    detail: str


class Problem(Strict):
    loc: list[str | int]
    msg: str
    type: str


class Problems(Strict):
    detail: list[Problem]


class Deleted(Strict):
    id: str | None
    deleted_at: str | None
    message: str | None


class Pagination(Strict):
    page: int
    page_size: int
    current_page_size: int
    total_pages: int
    total_results: int


class Page(Strict):
    object: Literal["list"]
    data: list[dict[str, Any]]
    sort: str | None
    filter: dict[str, Any] | None
    search: dict[str, Any] | None
    pagination: Pagination


# --- namespaces and datasets -----------------------------------------------------------------------------------


class NamespaceCreate(Strict):
    id: DnsName
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    custom_fields: dict[str, Any] | UnsetType = UNSET


class Namespace(Strict):
    id: str
    created_at: NaiveTime
    updated_at: NaiveTime
    description: str | None
    project: str | None
    custom_fields: dict[str, Any]
    ownership: Any


class DatasetUpdate(Strict):
    files_url: DatasetUrl
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    split: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    hf_endpoint: str | UnsetType = UNSET
    custom_fields: dict[str, str] | UnsetType = UNSET


class DatasetCreate(DatasetUpdate, kw_only=True):
    name: Name
    namespace: DnsName


class Dataset(Strict):
    id: Annotated[str, Meta(pattern="^dataset-")]
    name: Name
    namespace: str
    files_url: DatasetUrl
    description: str | None
    project: str | None
    format: str | None
    split: str | None
    limit: int | None
    hf_endpoint: str | None
    custom_fields: dict[str, Any]
    created_at: NaiveTime
    updated_at: NaiveTime


# --- data store ------------------------------------------------------------------------------------------------


class StoreNamespace(Strict):
    namespace: str
    created_at: ZuluTime
    updated_at: ZuluTime


class RepoName(Strict):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=96)]
    organization: str
    type: Literal["dataset", "model"] | UnsetType = UNSET
    private: bool | UnsetType = UNSET


class RepoUrl(Strict):
    url: str


class RepoExists(Strict):
    url: str
    detail: str


class PreuploadFile(Strict):
    path: str
    sample: str
    size: int


class Preupload(Strict):
    files: Annotated[list[PreuploadFile], Meta(min_length=1, max_length=256)]
    gitAttributes: str | UnsetType = UNSET  # noqa: N815


class UploadMode(Strict):
    path: str
    uploadMode: Literal["regular", "lfs"]  # noqa: N815
    shouldIgnore: bool  # noqa: N815
    oid: str | None


class UploadModes(Strict):
    files: list[UploadMode]


class LfsObject(Strict):
    oid: Sha256
    size: int


class LfsRef(Strict):
    name: str


class LfsBatch(Strict):
    operation: Literal["upload"]
    transfers: list[str]
    objects: list[LfsObject]
    hash_algo: Literal["sha256"]
    ref: LfsRef


class LfsAction(Strict):
    href: str
    header: dict[str, Any] | UnsetType = UNSET


class LfsActions(Strict):
    upload: LfsAction
    verify: LfsAction | UnsetType = UNSET


class LfsAnswer(Strict):
    oid: Sha256
    size: int
    authenticated: bool | UnsetType = UNSET
    actions: LfsActions | UnsetType = UNSET


class LfsAnswers(Strict):
    transfer: Literal["basic"]
    objects: list[LfsAnswer]


class CommitLine(Strict):
    key: Literal["header", "file", "lfsFile", "deletedFile"]
    value: dict[str, Any]


class Commit(Strict):
    commitOid: str  # noqa: N815
    commitUrl: Literal[""]  # noqa: N815  # the real store leaves it empty


class Sibling(Strict):
    rfilename: str


class RepoInfo(Strict):
    id: str
    sha: str
    private: bool
    siblings: list[Sibling]
    tags: list[str]
    downloads: int
    likes: int


class TreeEntry(Strict):
    type: Literal["file"]
    path: str
    size: int
    oid: str


# --- deployments -----------------------------------------------------------------------------------------------


class NimDeployment(Strict):
    image_name: Annotated[str, Meta(min_length=1)]
    image_tag: Annotated[str, Meta(min_length=1)]
    gpu: Annotated[int, Meta(ge=1)]
    pvc_size: Annotated[str, Meta(pattern=r"^\d+(Mi|Gi|Ti)$")] | UnsetType = UNSET
    additional_envs: dict[str, str] | UnsetType = UNSET
    disable_lora_support: bool | UnsetType = UNSET
    namespace: str | UnsetType = UNSET


class DeploymentSettings(Strict):
    model: str
    nim_deployment: NimDeployment


class DeploymentCreate(Strict):
    name: DnsName
    namespace: DnsName
    config: Reference | DeploymentSettings
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET
    async_enabled: bool | UnsetType = UNSET
    hf_token: str | UnsetType = UNSET


class DeploymentStatus(Strict):
    status: JobState
    description: str | UnsetType = UNSET


class Deployment(Strict):
    name: str
    namespace: str
    description: str | None
    project: str | None
    models: list[str]
    config: DeploymentSettings
    url: str
    deployed: bool
    status_details: DeploymentStatus
    created_at: NaiveTime
    updated_at: NaiveTime


# --- customizer ------------------------------------------------------------------------------------------------


class Target(Strict):
    name: str
    namespace: str
    base_model: str
    num_parameters: int
    precision: str
    model_path: str
    enabled: bool
    status: Literal["created", "pending", "downloading", "failed", "ready"]
    created_at: NaiveTime
    updated_at: NaiveTime


class TrainingOption(Strict):
    training_type: Literal["sft", "dpo", "distillation", "grpo"]
    finetuning_type: Literal["lora", "lora_merged", "all_weights"]
    num_gpus: int
    micro_batch_size: int
    num_nodes: int | UnsetType = UNSET
    tensor_parallel_size: int | UnsetType = UNSET
    data_parallel_size: int | UnsetType = UNSET
    pipeline_parallel_size: int | UnsetType = UNSET
    use_sequence_parallel: bool | UnsetType = UNSET


class ConfigCreate(Strict):
    name: Annotated[str, Meta(pattern=r"^[^/@ ]+@[^/@ ]+$")]
    namespace: DnsName
    target: Reference
    max_seq_length: int
    training_options: list[TrainingOption]
    training_precision: Literal["int8", "bf16", "fp16", "fp32", "fp8-mixed", "bf16-mixed"] | UnsetType = UNSET
    project: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class Config(Strict):
    name: str
    namespace: str
    target: Target
    max_seq_length: int
    training_options: list[TrainingOption]
    training_precision: str
    created_at: NaiveTime
    updated_at: NaiveTime


class Lora(Strict):
    adapter_dim: int
    adapter_dropout: float
    alpha: int
    target_modules: list[str] | UnsetType = UNSET


class Hyperparameters(Strict):
    finetuning_type: Literal["lora"]
    training_type: Literal["sft"] | UnsetType = UNSET
    epochs: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    batch_size: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    learning_rate: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    warmup_steps: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    weight_decay: float | UnsetType = UNSET
    lora: Lora | UnsetType = UNSET


class CustomizationCreate(Strict):
    namespace: DnsName  # may be missing, but then the job lands where nobody looks for it
    config: Annotated[str, Meta(pattern=r"^[^/@ ]+/[^/@ ]+@[^/@ ]+$")]
    dataset: Reference
    output_model: Reference
    hyperparameters: Hyperparameters
    name: Name | UnsetType = UNSET
    project: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    custom_fields: dict[str, str] | UnsetType = UNSET


class MetricValue(Strict):
    step: int
    timestamp: str
    value: float


class Metrics(Strict):
    keys: list[str]
    metrics: dict[str, list[MetricValue]]


class StatusLog(Strict):
    updated_at: NaiveTime
    message: str | UnsetType = UNSET
    detail: str | UnsetType | None = UNSET


class CustomizationStatus(Strict):
    created_at: NaiveTime
    updated_at: NaiveTime
    status: JobState
    percentage_done: Annotated[float, Meta(ge=0, le=100)] | UnsetType = UNSET
    epochs_completed: int | UnsetType = UNSET
    steps_completed: int | UnsetType = UNSET
    steps_per_epoch: int | UnsetType | None = UNSET
    elapsed_time: float | UnsetType = UNSET
    best_epoch: int | UnsetType = UNSET
    train_loss: float | UnsetType = UNSET
    val_loss: float | UnsetType = UNSET
    metrics: Metrics | UnsetType = UNSET
    status_logs: list[StatusLog] | UnsetType = UNSET


class ConfigSnapshot(Strict):
    base_model: str
    max_seq_length: int
    precision: str
    training_option: TrainingOption


class CustomizationJob(Strict):  # the job's name does not come back
    id: Annotated[str, Meta(pattern="^cust-")]
    config: str
    config_snapshot: ConfigSnapshot
    dataset: str
    hyperparameters: dict[str, Any]
    output_model: Annotated[str, Meta(pattern="@")]
    namespace: str
    project: str | None
    description: str | None
    custom_fields: dict[str, Any]
    status: JobState
    status_details: dict[str, Any]
    warnings: list[Any] | None
    created_at: NaiveTime
    updated_at: NaiveTime


class ContainerLogs(Strict):
    entries: dict[str, Any]
    error: dict[str, Any] | UnsetType = UNSET


class Artifact(Strict):
    files_url: str
    status: Literal["created", "upload_failed", "upload_completed"]


class ModelSpec(Strict):
    num_parameters: int
    context_size: int
    num_virtual_tokens: int
    is_chat: bool


class ModelEntity(Strict):
    name: str
    namespace: str
    description: str | None
    base_model: str
    project: str | None
    custom_fields: dict[str, Any]
    artifact: Artifact
    peft: dict[str, Any]
    spec: ModelSpec | None
    created_at: NaiveTime
    updated_at: NaiveTime


# --- evaluator -------------------------------------------------------------------------------------------------


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


# --- inference -------------------------------------------------------------------------------------------------


class ListedModel(Strict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ListedModels(Strict):
    object: Literal["list"]
    data: list[ListedModel]


class Anything(msgspec.Struct):
    """Chat bodies follow the OpenAI protocol, which other tests hold."""


class Route(NamedTuple):
    """One call: the shape of its request's JSON, and of its answers by status. None is no body."""

    service: str
    method: str
    path: str
    request: Any
    replies: dict[int, Any]


ONE = r"[^/]+"
HUB = "/v1/hf"
DEPLOYMENTS = "/v1/deployment/model-deployments"
ROUTES = [
    Route("nemo", "POST", "/v1/namespaces", NamespaceCreate, {200: Namespace, 409: Detail, 422: Problems}),
    Route("nemo", "GET", f"/v1/namespaces/{ONE}", None, {200: Namespace, 404: Detail}),
    Route("nemo", "POST", "/v1/datasets", DatasetCreate, {200: Dataset, 409: Detail}),
    Route("nemo", "GET", f"/v1/datasets/{ONE}/{ONE}", None, {200: Dataset, 404: Detail}),
    Route("nemo", "PATCH", f"/v1/datasets/{ONE}/{ONE}", DatasetUpdate, {200: Dataset}),
    Route("nemo", "DELETE", f"/v1/datasets/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
    Route("nemo", "GET", f"/v1/models/{ONE}/{ONE}", None, {200: ModelEntity, 404: Detail}),
    Route("nemo", "DELETE", f"/v1/models/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
    Route("nemo", "POST", DEPLOYMENTS, DeploymentCreate, {200: Deployment, 500: Detail, 409: Detail}),
    Route("nemo", "GET", f"{DEPLOYMENTS}/{ONE}/{ONE}", None, {200: Deployment, 404: Detail}),
    Route("nemo", "DELETE", f"{DEPLOYMENTS}/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
    Route("nemo", "GET", "/v1/customization/targets", None, {200: Page}),
    Route("nemo", "GET", f"/v1/customization/targets/{ONE}/{ONE}", None, {200: Target, 404: Detail}),
    Route("nemo", "POST", "/v1/customization/configs", ConfigCreate, {200: Config, 409: Detail}),
    Route("nemo", "GET", f"/v1/customization/configs/{ONE}/{ONE}", None, {200: Config, 404: Detail}),
    Route(
        "nemo", "POST", "/v1/customization/jobs", CustomizationCreate, {200: CustomizationJob, 409: Detail}
    ),
    Route("nemo", "GET", "/v1/customization/jobs", None, {200: Page}),
    Route("nemo", "GET", f"/v1/customization/jobs/{ONE}/status", None, {200: CustomizationStatus}),
    Route("nemo", "GET", f"/v1/customization/jobs/{ONE}/container-logs", None, {200: ContainerLogs}),
    Route("nemo", "POST", f"/v1/customization/jobs/{ONE}/cancel", None, {200: CustomizationJob, 409: Detail}),
    Route("nemo", "POST", "/v1/evaluation/jobs", EvaluationCreate, {200: EvaluationJob, 201: EvaluationJob}),
    Route("nemo", "GET", "/v1/evaluation/jobs", None, {200: Page}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}", None, {200: EvaluationJob, 404: Detail}),
    Route("nemo", "DELETE", f"/v1/evaluation/jobs/{ONE}", None, {200: None, 204: None, 404: Detail}),
    Route("nemo", "POST", f"/v1/evaluation/jobs/{ONE}/cancel", None, {200: EvaluationJob, 404: Detail}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}/results", None, {200: EvaluationResult}),
    Route("nemo", "GET", f"/v1/evaluation/jobs/{ONE}/download-results", None, {200: bytes}),
    Route("nim", "GET", "/v1/models", None, {200: ListedModels}),
    Route("nim", "POST", "/v1/chat/completions", Anything, {200: Anything, 404: Detail, 502: Detail}),
    Route("datastore", "POST", "/v1/datastore/namespaces", bytes, {201: StoreNamespace, 409: Detail}),
    Route(
        "datastore", "GET", f"/v1/datastore/namespaces/{ONE}", None, {201: StoreNamespace, 404: Detail}
    ),  # 201, not 200
    Route("datastore", "POST", f"{HUB}/api/repos/create", RepoName, {200: RepoUrl, 409: RepoExists}),
    Route("datastore", "DELETE", f"{HUB}/api/repos/delete", RepoName, {200: None, 204: None, 404: Detail}),
    Route(
        "datastore", "POST", f"{HUB}/api/datasets/{ONE}/{ONE}/preupload/{ONE}", Preupload, {200: UploadModes}
    ),
    Route(
        "datastore",
        "POST",
        f"{HUB}/datasets/{ONE}/{ONE}\\.git/info/lfs/objects/batch",
        LfsBatch,
        {200: LfsAnswers},
    ),
    Route("datastore", "PUT", f"/lfs/{ONE}", bytes, {200: None}),
    Route("datastore", "POST", f"/lfs/{ONE}/verify", LfsObject, {200: None}),
    Route("datastore", "POST", f"{HUB}/api/datasets/{ONE}/{ONE}/commit/{ONE}", bytes, {200: Commit}),
    Route("datastore", "GET", f"{HUB}/api/(datasets|models)/{ONE}/{ONE}", None, {200: RepoInfo, 404: Detail}),
    Route(
        "datastore",
        "GET",
        f"{HUB}/api/datasets/{ONE}/{ONE}/tree/{ONE}",
        None,
        {200: list[TreeEntry], 404: Detail},
    ),
]

ENTRIES = {
    "/v1/customization/targets": Target,
    "/v1/customization/jobs": CustomizationJob,
    "/v1/evaluation/jobs": EvaluationJob,
}
"""What the pages of a listing hold."""


def require_contract(exchanges: list[Exchange]) -> None:
    """Every request and every answer is of the API's shape; answers that a test broke on purpose aside."""
    for exchange in exchanges:
        where = f"{exchange.service} {exchange.method} {exchange.path}"
        route = _route(exchange)
        assert route is not None, f"the API has no {where}"
        _require(route.request, exchange.request, f"request of {where}")
        if exchange.path.endswith("/commit/main"):
            _require_commit(exchange.request)
        if exchange.broken:
            continue
        if exchange.status == 401:
            _require(Detail, exchange.reply, f"refusal of {where}")
            continue
        assert exchange.status in route.replies, f"{where} does not answer {exchange.status}"
        _require(route.replies[exchange.status], exchange.reply, f"answer {exchange.status} of {where}")
        if exchange.method == "GET" and exchange.path in ENTRIES:
            for entry in msgspec.json.decode(exchange.reply)["data"]:
                msgspec.convert(entry, ENTRIES[exchange.path])


def _route(exchange: Exchange) -> Route | None:
    for route in ROUTES:
        if (route.service, route.method) == (exchange.service, exchange.method) and re.fullmatch(
            route.path, exchange.path
        ):
            return route
    return None


def _require(shape: Any, body: bytes, where: str) -> None:
    if shape is bytes:
        return
    if shape is None:
        assert body == b"", f"{where} has a body"
        return
    try:
        msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise AssertionError(f"{where}: {error}\n{body[:2000].decode(errors='replace')}") from error


def _require_commit(body: bytes) -> None:
    lines = [msgspec.json.decode(line, type=CommitLine) for line in body.splitlines()]
    assert [line.key for line in lines][:1] == ["header"]
    fields = {
        "header": {"summary", "description"},
        "file": {"path", "content", "encoding"},
        "lfsFile": {"path", "algo", "oid", "size"},
        "deletedFile": {"path"},
    }
    for line in lines:
        assert set(line.value) == fields[line.key]

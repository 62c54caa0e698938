"""Customizer: what can be trained, and jobs that train."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.contracts.nemo_shapes.strict import (
    ONE,
    Detail,
    DnsName,
    JobState,
    NaiveTime,
    Name,
    Page,
    Reference,
    Route,
    Strict,
)


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


ROUTES = [
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
]

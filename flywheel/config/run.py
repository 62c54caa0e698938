"""The whole tree: one turn of the flywheel."""

from __future__ import annotations

from pydantic import Field, model_validator

from flywheel.config.analysis import AnalysisConfig, HistoryConfig
from flywheel.config.base import Settings
from flywheel.config.data import DataSplitConfig, DedupConfig, LeakageConfig, LogsConfig, ValidationConfig
from flywheel.config.decision import DecisionConfig
from flywheel.config.judge import JudgeConfig
from flywheel.config.metrics import MetricsConfig
from flywheel.config.models import CandidateConfig, EvaluationConfig, IclConfig, LoraConfig, TrainingConfig
from flywheel.config.redaction import RedactionConfig
from flywheel.config.schedule import BudgetConfig, WindowConfig


class ConnectionsConfig(Settings):
    """Which log store, stores and platform a run speaks to.

    A value is the embedded implementation's name or `<block type slug>/<block name>` of a saved Prefect block. The
    secrets stay in the block.
    """

    home: str = Field(
        default="",
        description="Directory of the embedded stores and of local models. Empty: $FLYWHEEL_HOME, else ~/.flywheel.",
    )
    log_store: str = Field(
        default="files",
        description="'files' reads logs.path; 'elasticsearch' and 'langfuse' what the ELASTICSEARCH_* or LANGFUSE_* "
        "variables name; else a saved block.",
    )
    dataset_store: str = Field(
        default="embedded",
        description="'embedded' is a directory; a URL such as s3://bucket/folder any place that fsspec reaches, with "
        "the credentials of its environment; else a saved block.",
    )
    run_store: str = Field(
        default="embedded",
        description="'embedded' is an SQLite file; 'mongodb' a MongoDB database by $MONGODB_URL; else a saved block.",
    )
    platform: str = Field(
        default="local",
        description="'local' trains and serves on this machine; 'nemo', 'openai' and 'vllm' are reached by the "
        "variables of the environment that their pages name; else a saved block.",
    )

    curation_cluster: str = Field(
        default="",
        description="'dask' or 'ray' reads and validates a log of many files by partitions in processes of this "
        "machine; 'dask:tcp://scheduler:8786' or 'ray:ray://head:10001' on a cluster. Empty: in this process.",
    )
    candidate_deployment: str = Field(
        default="",
        description="'candidate/<name>' of a deployment whose workers run the candidates, one each. Empty: in this "
        "process. Workers need the same stores.",
    )


class FlywheelConfig(Settings):
    """One turn of the flywheel for one workload of one client."""

    workload_id: str = Field(
        min_length=1, description="The workload (route, agent node) whose calls are studied."
    )
    client_id: str = Field(min_length=1, description="Who produced the traffic.")
    description: str = Field(default="", description="What this run is for, in your words; stored with it.")
    logs: LogsConfig = Field(default=LogsConfig(), description="Which part of the log is read.")
    redaction_config: RedactionConfig = Field(
        default=RedactionConfig(), description="Personal data that is replaced while the log is read."
    )
    validation_config: ValidationConfig = Field(
        default=ValidationConfig(), description="Which records are used."
    )
    dedup_config: DedupConfig = Field(default=DedupConfig(), description="When two requests are the same.")
    data_split_config: DataSplitConfig = Field(
        default=DataSplitConfig(), description="How many records go where."
    )
    leakage_config: LeakageConfig = Field(default=LeakageConfig(), description="Proof that the test is fair.")
    icl_config: IclConfig = Field(default=IclConfig(), description="In-context examples.")
    training_config: TrainingConfig = Field(default=TrainingConfig(), description="Fine-tuning.")
    lora_config: LoraConfig = Field(default=LoraConfig(), description="Shape of the adapters.")
    evaluation_config: EvaluationConfig = Field(default=EvaluationConfig(), description="Asking and scoring.")
    metrics_config: MetricsConfig = Field(
        default=MetricsConfig(),
        description="Scores computed by programs, and how arguments of tools compare.",
    )
    judge_config: JudgeConfig = Field(
        default=JudgeConfig(), description="A model that rates answers; none by default."
    )
    analysis_config: AnalysisConfig = Field(
        default=AnalysisConfig(), description="Verdicts, and what things cost."
    )
    history_config: HistoryConfig = Field(
        default=HistoryConfig(), description="What is kept from run to run."
    )
    decision_config: DecisionConfig = Field(
        default=DecisionConfig(), description="Whether a run waits for a person's decision."
    )
    window_config: WindowConfig = Field(
        default=WindowConfig(), description="The hours in which GPU work may start; any by default."
    )
    budget_config: BudgetConfig = Field(
        default=BudgetConfig(), description="Bounds of GPU-hours and money; none by default."
    )
    connections: ConnectionsConfig = Field(
        default=ConnectionsConfig(), description="Where logs, datasets, history and models are."
    )
    gpu_slots: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Size of the Prefect concurrency limit 'gpu' if a run has to create it; an existing one is kept.",
    )
    candidates: list[CandidateConfig] = Field(
        default=[CandidateConfig(model="demo:smollm2-135m")],
        min_length=1,
        max_length=100,
        description="The models under test.",
    )

    @model_validator(mode="after")
    def _candidates_have_their_own_names(self) -> FlywheelConfig:
        names = [candidate.name for candidate in self.candidates if candidate.name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two candidates are named {twice[0]!r}; give each its own name")
        return self

    @model_validator(mode="after")
    def _meaning_needs_an_embedder(self) -> FlywheelConfig:
        for name, mode in (
            ("dedup_config", self.dedup_config.semantic.mode),
            ("leakage_config", self.leakage_config.semantic.mode),
        ):
            if mode != "off" and not self.icl_config.embedder.base_url:
                raise ValueError(
                    f"{name}.semantic.mode is {mode!r}, which needs vectors: set icl_config.embedder.base_url and "
                    "icl_config.embedder.model"
                )
        return self

    def training_for(self, candidate: CandidateConfig) -> TrainingConfig:
        """The candidate's own training settings, else the run's."""
        return candidate.training_config or self.training_config

    def lora_for(self, candidate: CandidateConfig) -> LoraConfig:
        """The candidate's own adapter settings, else the run's."""
        return candidate.lora_config or self.lora_config
